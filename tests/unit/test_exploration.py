"""Explored slates from the request to the record: what is said of them, what is kept, and that they come out again."""

from __future__ import annotations

import asyncio
import json
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from foveate.bundle import Bundle, default_state
from foveate.core.config import from_dict, to_dict
from foveate.core.errors import NotFoundError, StateError
from foveate.core.messages import RecommendRequest, RequestContext, Slate, SlateItem
from foveate.recommend.explain.ranking import EXPLORATION
from foveate.recommend.pipeline import LocalStages, make_context, recommend, recommend_many
from foveate.replay.served import replay
from foveate.slate.exploration.base import SlotPolicy
from foveate.slate.exploration.config import Exploration
from foveate.state.base import ServedRequest
from foveate.state.record import pack, unpack
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.store import SqliteState
from foveate_serve.config import ServeConfig

NOW = 1_742_169_600_000_000
MOMENT = "2025-03-17T00:00:00Z"
UNIFORM = from_dict(Exploration, {"policy": {"name": "uniform_slots", "places": [2, 4], "top": 8}})


@pytest.fixture(scope="module")
def state(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exploring") / "state.sqlite"
    return Path(shutil.copyfile(default_state(small_bundle.path), path))


@pytest.fixture(scope="module")
def api(small_bundle: Bundle, state: Path, serving: Any) -> Iterator[httpx.Client]:
    """The HTTP interface with places 2 and 4 explored."""
    config = ServeConfig(topology="fused", deadline_ms=60_000, exploration=UNIFORM)
    with serving(small_bundle, state, config) as client:
        yield client


@pytest.fixture(scope="module")
def viewer(state: Path) -> str:
    with SqliteState(state, create=False) as viewers:
        return str(viewers.users(1)[0])


def ask(api: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = api.post("/v1/recommend", json={"k": 5, "now": MOMENT, **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def record_of(state: Path, request_id: str) -> ServedRequest:
    with SqliteImpressions(state, create=False) as impressions:
        return impressions.read(request_id)


def kept(api: httpx.Client, state: Path, request_id: str) -> ServedRequest:
    """Read a record once it is written: the writer has done so when a later slate of its own is there."""
    while True:
        try:
            return record_of(state, request_id)
        except NotFoundError:
            ask(api, surface="trending")


def test_a_place_that_is_not_drawn_has_no_propensity_and_never_one(api: httpx.Client, state: Path, viewer: str) -> None:
    answer = ask(api, user_id=viewer)
    assert answer["explored"] == [2, 4]
    for item in answer["items"]:
        drawn = item["rank"] in (2, 4)
        assert item["propensity"] == (1 / 8 if drawn else None), "null, not 1"
        assert item["policy"] == (UNIFORM.policy_id if drawn else None)
    record = kept(api, state, answer["request_id"])
    assert [item.propensity for item in record.slate.items] == [None, 1 / 8, None, 1 / 8, None]
    assert [item.policy for item in record.slate.items] == [item["policy"] for item in answer["items"]]
    assert record.slate.explored == (1, 3)


def test_without_exploration_nothing_has_a_propensity(small_api: httpx.Client, viewer: str) -> None:
    answer = ask(small_api, user_id=viewer)
    assert answer["explored"] == []
    assert {item["propensity"] for item in answer["items"]} == {item["policy"] for item in answer["items"]} == {None}


def test_a_slate_that_no_ranker_orders_is_not_explored(api: httpx.Client) -> None:
    answer = ask(api, surface="trending")
    assert answer["explored"] == []
    assert {item["propensity"] for item in answer["items"]} == {None}


def test_a_seed_that_the_client_names_is_no_draw(api: httpx.Client, viewer: str) -> None:
    first, again, other = (ask(api, user_id=viewer, seed=seed) for seed in (5, 5, 6))
    ids = [[item["item_id"] for item in answer["items"]] for answer in (first, again, other)]
    assert ids[0] == ids[1] != ids[2]
    assert first["explored"] == [2, 4]
    assert {item["propensity"] for item in first["items"]} == {None}
    page = ask(api, user_id=viewer, seed=5, cursor=first["cursor"])
    assert {item["propensity"] for item in page["items"]} == {None}


def test_the_next_page_repeats_nothing_and_draws_anew(api: httpx.Client, viewer: str) -> None:
    page = ask(api, user_id=viewer)
    seen = [item["item_id"] for item in page["items"]]
    for _ in range(3):
        page = ask(api, user_id=viewer, cursor=page["cursor"])
        own = [item["item_id"] for item in page["items"]]
        assert not set(own) & set(seen)
        assert [item["propensity"] is not None for item in page["items"]] == [False, True, False, True, False]
        seen += own


def test_an_explored_slate_comes_out_again(api: httpx.Client, small_bundle: Bundle, state: Path, viewer: str) -> None:
    answers = [ask(api, user_id=viewer)]
    answers.append(ask(api, user_id=viewer, cursor=answers[0]["cursor"]))
    for answer in answers:
        record = kept(api, state, answer["request_id"])
        assert record.slate.explored
        with SqliteState(state, create=False) as viewers:
            assert replay(record, small_bundle, viewers).found == ()
            items = list(record.slate.items)
            items[1] = replace(items[1], propensity=0.2)
            other = replace(record, slate=replace(record.slate, items=tuple(items)))
            [difference] = replay(other, small_bundle, viewers).found
            assert (difference.what, difference.position, difference.was) == ("propensity", 1, 0.2)
            quiet = replace(record, context=replace(record.context, exploration=""))
            assert any(one.what in ("item", "policy") for one in replay(quiet, small_bundle, viewers).found)


def test_what_is_drawn_is_explained_by_that(api: httpx.Client, small_api: httpx.Client, viewer: str) -> None:
    moved, gone = 0, 0
    for seed in range(12):
        answer = ask(api, user_id=viewer, seed=seed, explain=True)
        plain = ask(api, user_id=viewer, seed=seed)
        assert [item["item_id"] for item in plain["items"]] == [item["item_id"] for item in answer["items"]]
        usual = {item["item_id"] for item in ask(small_api, user_id=viewer, seed=seed)["items"]}
        for item in answer["items"]:
            if item["item_id"] not in usual and item["explanation"]["ranker_rank"] > 5:
                assert item["explanation"]["moved_by"] == [EXPLORATION]
                moved += 1
        body = {"user_id": viewer, "k": 5, "now": MOMENT, "seed": seed}
        shown = [item["item_id"] for item in plain["items"]]
        for item in {*usual, *shown}:
            found = api.post("/v1/why-not", json={**body, "item_id": item}).json()
            assert (found["where"] == "shown") == (item in shown), "it observes the same draw"
            gone += found["by"] == [EXPLORATION]
    assert moved > 3
    assert gone > 3


def test_many_at_once_draw_what_each_draws_alone(small_bundle: Bundle, state: Path) -> None:
    exploration = from_dict(Exploration, {"policy": {"name": "plackett_luce", "temperature": 0.3}})
    with SqliteState(state, create=False) as viewers:
        requests = [RecommendRequest(user, k=6, now=NOW) for user in viewers.users(8)]
        contexts = [
            make_context(one, small_bundle.bundle_id, clock=lambda: NOW, exploration=exploration.text)
            for one in requests
        ]
        together = recommend_many(small_bundle.model, viewers, requests, contexts)
        stages = LocalStages(small_bundle.model, viewers)
        alone = [asyncio.run(recommend(*one, stages)) for one in zip(requests, contexts, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert len(one.explored) == 6
        assert [item.item_id for item in one.items] == [item.item_id for item in other.items]
        np.testing.assert_allclose(
            [item.propensity for item in one.items], [item.propensity for item in other.items], rtol=1e-4
        )


def test_a_serve_config_names_what_is_explored() -> None:
    config = from_dict(
        ServeConfig,
        {"exploration": {"policy": {"name": "plackett_luce", "temperature": 0.5}, "budget": {"traffic": 0.1}}},
    )
    assert from_dict(ServeConfig, to_dict(config)) == config
    assert ServeConfig().exploration == Exploration()
    assert set(SlotPolicy.variants) == {"plackett_luce", "uniform_slots"}


def test_a_record_of_a_foveate_without_propensities_is_read(small_bundle: Bundle) -> None:
    request = RecommendRequest("u", k=1, now=NOW)
    context = make_context(request, "b", clock=lambda: NOW, request_id="r")
    item = SlateItem("x", 0, 0.5, ("attention",), np.ones(3, dtype=np.float32), "uniform_slots-1", 0.125)
    slate = replace(_empty(context), items=(item,))
    packed = pack(ServedRequest(request, context, slate))
    assert unpack(packed).slate.items[0].propensity == 0.125
    assert unpack(packed).slate.items[0].policy == "uniform_slots-1"
    older = unpack(_as_format_2(packed))
    assert (older.slate.items[0].policy, older.slate.items[0].propensity) == (None, None)
    assert older.slate.items[0].features.tolist() == [1.0, 1.0, 1.0]
    assert older.context.exploration == ""
    with pytest.raises(StateError, match="format 4"):
        unpack(bytes([4]) + packed[1:])


def _empty(context: RequestContext) -> Slate:
    return Slate(context.request_id, "u", "b", "mmr-1", "f", ())


def _as_format_2(packed: bytes) -> bytes:
    """Return a record as it was written before: five values an item, and a context without exploration."""
    content = zlib.decompress(packed[1:])
    length = int.from_bytes(content[:4], "little")
    record = json.loads(content[4 : 4 + length])
    record["items"] = [[*item[:4], item[-1]] for item in record["items"]]
    for name in ("exploration", "seed_drawn"):
        del record["context"][name]
    del record["request"]["seed_drawn"]
    text = json.dumps(record).encode()
    return bytes([2]) + zlib.compress(len(text).to_bytes(4, "little") + text + content[4 + length :])
