"""A real Ray Serve that answers over HTTP: one cluster for all of these tests."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from foveate.bundle import Bundle, default_state
from foveate.core.messages import Filters, RecommendRequest, Slate
from foveate.recommend.explain import LocalExplainStages, explain, why_not
from foveate.recommend.pipeline import LocalStages, make_context, recommend
from foveate.recommend.surfaces.base import Surface
from foveate.replay.served import replay
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.store import SqliteState
from foveate_cluster.ray_cluster import ray_cluster
from foveate_serve.app import APPLICATION, deploy, start
from foveate_serve.config import DeploymentConfig, ServeConfig
from foveate_serve.http.schemas.ask import RecommendIn
from new_items import shows_and_goes

pytestmark = pytest.mark.cluster

NOW = "2025-03-17T00:00:00Z"
NOW_MICROS = 1_742_169_600_000_000
TOLERANCE = 1e-4
"""Of scores, between a server and this process: float32 sums may be taken in another order."""


@dataclass(frozen=True)
class Server:
    url: str
    bundle: Bundle
    state: Path
    config: ServeConfig
    http: httpx.Client

    def ask(self, user_id: str, **more: Any) -> httpx.Response:
        return self.http.post("/v1/recommend", json={"user_id": user_id, "now": NOW, **more})

    @property
    def dashboard(self) -> str:
        with ray_cluster(None) as url:
            assert url
            return url

    def apply(self, bundle: Path) -> None:
        """Tell the running application to take another bundle."""
        deploy(self.dashboard, bundle, self.state, self.config, {})

    def replica(self, deployment: str) -> int:
        """Return the process id of a deployment's one replica."""
        application = ServeSubmissionClient(self.dashboard).get_serve_details()["applications"][APPLICATION]
        [replica] = application["deployments"][deployment]["replicas"]
        return int(replica["pid"])

    def parts_within(self, seconds: float, wanted: Any) -> list[dict[str, Any]]:
        """Wait until every replica's status is as wanted; return the statuses."""
        give_up = time.monotonic() + seconds
        while True:
            parts: list[dict[str, Any]] = self.http.get("/health/ready").json()["parts"]
            if all(wanted(part) for part in parts) or time.monotonic() > give_up:
                return parts
            time.sleep(0.1)


@pytest.fixture(scope="module")
def server(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = tmp_path_factory.mktemp("served") / "state.sqlite"
    shutil.copyfile(default_state(small_bundle.path), state)
    # The machine may be busy: a test must not fail for being slow.
    # One of these tests asks 160 times at once, and means to be answered.
    ingress = DeploymentConfig(max_ongoing_requests=256)
    config = ServeConfig(port=0, deadline_ms=30_000, max_body_bytes=20_000, ingress=ingress)
    with start(small_bundle.path, state, config) as url, httpx.Client(base_url=url, timeout=60) as http:
        yield Server(url, small_bundle, state, config, http)


@pytest.fixture(scope="module")
def viewers(server: Server) -> list[str]:
    with SqliteState(server.state) as state:
        return state.users(200)


def local(server: Server, state: SqliteState, request: RecommendRequest) -> Slate:
    context = make_context(request, server.bundle.bundle_id, clock=lambda: NOW_MICROS)
    return asyncio.run(recommend(request, context, LocalStages(server.bundle.model, state)))


def test_served_and_offline_slates_agree_for_200_viewers(server: Server, viewers: list[str]) -> None:
    assert len(viewers) == 200
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda user: server.ask(user, k=10, seed=1), viewers))
    with SqliteState(server.state) as state:
        for user, answer in zip(viewers, answers, strict=True):
            assert answer.status_code == 200, answer.text
            served = answer.json()
            offline = local(server, state, RecommendRequest(user, k=10, now=NOW_MICROS, seed=1))
            assert [item["item_id"] for item in served["items"]] == [item.item_id for item in offline.items]
            assert [item["sources"] for item in served["items"]] == [list(item.sources) for item in offline.items]
            np.testing.assert_allclose(
                [item["score"] for item in served["items"]], [item.score for item in offline.items], atol=TOLERANCE
            )
            for name in ("user_id", "bundle_id", "policy_id", "feature_schema", "state_version"):
                assert served[name] == getattr(offline, name)
            assert served["relaxed"] == list(offline.relaxed)
            np.testing.assert_allclose(served["relevance_paid"], offline.relevance_paid, atol=TOLERANCE)
            assert not served["cold"]


def test_50_served_slates_are_remade_from_their_records(server: Server, viewers: list[str]) -> None:
    asked = [server.http.post("/v1/recommend", json={"user_id": user, "k": 12}).json() for user in viewers[:50]]
    events = [{"user_id": one["user_id"], "item_id": one["items"][0]["item_id"], "kind": "long_view"} for one in asked]
    assert server.http.post("/v1/events", json={"events": events}).json()["added"] == 50
    with SqliteImpressions(server.state) as sink, SqliteState(server.state) as state:
        give_up = time.monotonic() + 20
        while asked[-1]["request_id"] not in sink.request_ids(1000) and time.monotonic() < give_up:
            time.sleep(0.05)
        for one in asked:
            record = sink.read(one["request_id"])
            bundle = Bundle.load(sink.bundle_path(record.context.bundle_id))
            result = replay(record, bundle, state)
            assert result.differences == ()
            assert [item.item_id for item in result.remade.items] == [item["item_id"] for item in one["items"]]


def test_every_surface_is_answered_page_by_page_as_offline(server: Server, viewers: list[str]) -> None:
    marks, ids = server.bundle.model.catalog.marks, server.bundle.model.catalog.items
    for name, kind in Surface.variants.items():
        fields: dict[str, Any] = {"surface": name, "k": 4, "seed": 1}
        fields |= {"user_id": viewers[5]} if "user_id" in {*kind.needs, *kind.takes} else {}
        fields |= {"history": [{"item_id": one} for one in ids.ids[:3]]} if "history" in kind.needs else {}
        fields |= {"related_to": ids.ids[7]} if "related_to" in kind.needs else {}
        # Early enough that something is still to come.
        asked = RecommendIn(**fields, now="2025-03-14T00:00:00Z").message()
        page = server.http.post("/v1/recommend", json={**fields, "now": "2025-03-14T00:00:00Z"}).json()
        for cursor in (page["cursor"], None):
            with SqliteState(server.state) as state:
                offline = local(server, state, asked)
            assert [item["item_id"] for item in page["items"]] == [item.item_id for item in offline.items], name
            assert (page["policy_id"], page["degraded"]) == (offline.policy_id, [])
            assert len(page["items"]) == 4
            if cursor:
                shown = tuple(marks[ids.encode([item.item_id for item in offline.items])].tolist())
                asked = replace(asked, filters=Filters(shown_before=shown))
                body = {**fields, "now": "2025-03-14T00:00:00Z", "cursor": cursor}
                page = server.http.post("/v1/recommend", json=body).json()


def test_an_event_changes_the_next_slate(server: Server) -> None:
    stranger = {"user_id": "a newcomer", "k": 5, "now": NOW, "seed": 0}
    cold = server.http.post("/v1/recommend", json=stranger).json()
    assert cold["cold"]
    first = cold["items"][0]
    event = {"user_id": "a newcomer", "item_id": first["item_id"], "kind": "long_view", "event_id": "e1", "value": 1.0}
    event |= {"impression_id": first["impression_id"], "occurred_at": "2025-03-16T23:00:00Z"}
    assert server.http.post("/v1/events", json={"events": [event]}).json()["added"] == 1
    assert server.http.post("/v1/events", json={"events": [event]}).json()["added"] == 0
    warm = server.http.post("/v1/recommend", json=stranger).json()
    assert not warm["cold"]
    assert first["item_id"] not in {item["item_id"] for item in warm["items"]}


def test_filters_are_kept(server: Server, viewers: list[str]) -> None:
    plain = server.ask(viewers[3], k=5).json()
    channel = plain["items"][0]["channel_id"]
    slate = server.ask(viewers[3], k=5, filters={"exclude_channels": [channel]}).json()
    assert len(slate["items"]) == 5
    assert channel not in {item["channel_id"] for item in slate["items"]}


def test_many_requests_at_once_are_all_answered(server: Server, viewers: list[str]) -> None:
    async def ask_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
            bodies = [{"user_id": user, "k": 10, "now": NOW, "seed": 1} for user in viewers[:20] * 8]
            return await asyncio.gather(*(http.post("/v1/recommend", json=body) for body in bodies))

    answers = asyncio.run(ask_all())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["request_id"] for answer in answers}) == 160
    by_viewer: dict[str, set[tuple[str, ...]]] = {}
    for answer in answers:
        slate = answer.json()
        by_viewer.setdefault(slate["user_id"], set()).add(tuple(item["item_id"] for item in slate["items"]))
    assert {len(slates) for slates in by_viewer.values()} == {1}


def test_what_finds_no_place_is_turned_away_before_ray_works_for_it(server: Server, viewers: list[str]) -> None:
    async def ask_all() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as http:
            bodies = [{"user_id": viewers[turn % 200], "k": 10, "now": NOW} for turn in range(600)]
            asked = [asyncio.create_task(http.post("/v1/recommend", json=body)) for body in bodies]
            live = await http.get("/health/live")
            return [live, *await asyncio.gather(*asked)]

    live, *answers = asyncio.run(ask_all())
    assert live.status_code == 200
    assert {answer.status_code for answer in answers} == {200, 503}
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.json()["code"] for answer in refused} == {"overloaded"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    # Ray gives each request that it works for an id.
    assert not any("x-request-id" in answer.headers for answer in refused)
    assert server.ask(viewers[0]).status_code == 200


JSON = {"content-type": "application/json"}
BAD: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "an unknown field": ("POST", "/v1/recommend", {"json": {"user_id": "u", "size": 3}}, 422, "size"),
    "no item": ("POST", "/v1/why-not", {"json": {}}, 422, "item_id"),
    "a text for a number": ("POST", "/v1/recommend", {"json": {"user_id": "u", "k": "3"}}, 422, "k: "),
    "no JSON": ("POST", "/v1/recommend", {"content": b"{", "headers": JSON}, 400, "JSON"),
    "half a character": ("POST", "/v1/recommend", {"content": b'{"user_id": "\\ud800"}'}, 422, ""),
    "no UTF-8": ("POST", "/v1/recommend", {"content": b'{"user_id": "\xff"}'}, 422, ""),
    "a large body": ("POST", "/v1/recommend", {"content": b" " * 30_000}, 413, "20000 bytes"),
    "an unknown kind": (
        "POST",
        "/v1/events",
        {"json": {"events": [{"user_id": "u", "item_id": "i", "kind": "nod"}]}},
        422,
        "kind",
    ),
    "no events": ("POST", "/v1/events", {"json": {"events": []}}, 422, "events"),
    "an unknown item": ("GET", "/v1/items/nothing", {}, 404, "'nothing'"),
    "an unknown path": ("GET", "/v2", {}, 404, "/v2"),
    "a wrong method": ("GET", "/v1/recommend", {}, 405, "GET"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_a_bad_request_is_refused_as_json(server: Server, case: tuple[str, str, dict[str, Any], int, str]) -> None:
    method, path, more, status, said = case
    answer = server.http.request(method, path, **more)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert {"type", "title", "status", "detail", "code"} <= set(told)
    assert told["status"] == status
    assert said in told["detail"]
    assert bool(told.get("errors")) == (status == 422)
    assert server.http.get(told["type"]).json()["title"] == told["title"]
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text


def test_a_served_slate_is_explained_as_offline(server: Server, viewers: list[str]) -> None:
    for user in (*viewers[:3], "a stranger"):
        answer = server.ask(user, k=5, seed=1, explain=True)
        assert answer.status_code == 200, answer.text
        served = answer.json()["items"]
        assert [one["item_id"] for one in served] == [
            one["item_id"] for one in server.ask(user, k=5, seed=1).json()["items"]
        ]
        request = RecommendRequest(user, k=5, now=NOW_MICROS, seed=1)
        context = make_context(request, server.bundle.bundle_id, clock=lambda: NOW_MICROS)
        with SqliteState(server.state) as state:
            stages = LocalExplainStages(server.bundle.model, state)
            _, offline = asyncio.run(explain(request, context, stages, server.bundle.model.catalog))
        for one, item in zip(served, offline.items, strict=True):
            told = one["explanation"]
            assert (told["sentence"], told["ranker_rank"]) == (item.sentence, item.rank)
            assert [own["item_id"] for own in told["history"][:3]] == [own.item_id for own in item.history[:3]]
            whole = told["base"] + told["others"] + sum(part["value"] for part in told["contributions"])
            assert whole == pytest.approx(one["score"], abs=TOLERANCE)
    assert server.ask(viewers[0]).json()["items"][0]["explanation"] is None


def test_why_not_is_answered_as_offline(server: Server, viewers: list[str]) -> None:
    catalog, where = server.bundle.model.catalog, set()
    with SqliteState(server.state) as state:
        seen = state.history(viewers[0]).item_ids[0]
    first = server.ask(viewers[0], k=5, seed=1).json()["items"][0]["item_id"]
    request = RecommendRequest(viewers[0], k=5, now=NOW_MICROS, seed=1)
    context = make_context(request, server.bundle.bundle_id, clock=lambda: NOW_MICROS)
    for item in (*catalog.items.ids[:20], seen, first, "no such item"):
        body = {"user_id": viewers[0], "k": 5, "now": NOW, "seed": 1, "item_id": item}
        answer = server.http.post("/v1/why-not", json=body)
        assert answer.status_code == 200, answer.text
        with SqliteState(server.state) as state:
            stages = LocalExplainStages(server.bundle.model, state)
            offline = asyncio.run(why_not(request, context, stages, server.bundle.model, item))
        served = answer.json()
        assert (served["where"], served["sentence"]) == (offline.where, offline.sentence)
        assert served["source_ranks"] == dict(offline.source_ranks)
        where.add(offline.where)
    assert {"unknown", "filtered", "shown"} < where


def test_an_item_is_described(server: Server) -> None:
    row = server.bundle.model.catalog.frame.row(0, named=True)
    item = server.http.get(f"/v1/items/{row['item_id']}").json()
    assert item["item_id"] == row["item_id"]
    assert item["title"] == row["title"]
    assert item["categories"] == row["categories"]


def test_the_documentation_is_there(server: Server) -> None:
    page = server.http.get("/docs")
    assert page.status_code == 200
    assert "swagger" in page.text.lower()
    schema = server.http.get("/openapi.json").json()
    assert {"/v1/recommend", "/v1/items/{item_id}", "/v1/events", "/health/live", "/health/ready"} <= set(
        schema["paths"]
    )
    assert schema["components"]["schemas"]["RecommendIn"]["examples"]


def test_it_is_live_and_ready(server: Server) -> None:
    assert server.http.get("/health/live").json() == {"status": "live"}
    ready = server.http.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["ready"]
    assert ready.json()["bundle_id"] == server.bundle.bundle_id
    assert [part["deployment"] for part in ready.json()["parts"]] == ["ingress", "retriever", "ranker"]


def test_a_lost_replica_costs_no_answer(server: Server, viewers: list[str]) -> None:
    lost = server.replica("ranker")
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(server.ask, user) for user in viewers[:40]]
        answers[4].result()
        os.kill(lost, signal.SIGKILL)
        answers += [pool.submit(server.ask, user) for user in viewers[:20]]
        assert {answer.result().status_code for answer in answers} == {200}
    assert server.replica("ranker") != lost


def test_a_broken_bundle_is_not_taken_and_a_good_one_is_without_a_restart(
    server: Server, viewers: list[str], tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(server.bundle.path, tmp_path / "broken"))
    weights = broken / "sources" / "attention.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    server.apply(broken)
    # A part that is just being told holds no bundle that it could name.
    parts = server.parts_within(60, lambda part: part["bundle_id"] and part["problem"])
    for part in parts:
        assert "attention.safetensors" in part["problem"]
        assert part["bundle_id"] == server.bundle.bundle_id
    assert server.http.get("/health/ready").status_code == 200
    assert server.ask(viewers[0]).json()["bundle_id"] == server.bundle.bundle_id

    # While a new bundle is rolled out, every request is answered by one bundle, the old or the new.
    better = Bundle.save(server.bundle.model, tmp_path / "better", data_hash="", parent=server.bundle.bundle_id)
    server.apply(better.path)
    seen = set()
    give_up = time.monotonic() + 60
    while better.bundle_id not in seen and time.monotonic() < give_up:
        answer = server.ask(viewers[0])
        assert answer.status_code == 200, answer.text
        assert not answer.json()["degraded"]
        seen.add(answer.json()["bundle_id"])
    assert seen <= {server.bundle.bundle_id, better.bundle_id}
    assert better.bundle_id in seen
    for part in server.parts_within(60, lambda part: part["bundle_id"] == better.bundle_id):
        assert part["previous"] == server.bundle.bundle_id
        assert part["problem"] is None


def test_an_item_that_is_put_is_in_every_replicas_answers_and_goes_when_it_is_withdrawn(server: Server) -> None:
    shows_and_goes(server.http, server.bundle)
