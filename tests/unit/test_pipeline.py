"""One request from start to end, in process, and its replay."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foveate.bundle import Bundle, default_state
from foveate.core.errors import BundleError
from foveate.core.messages import Filters, RecommendRequest, RequestContext, Slate
from foveate.recommend.pipeline import LocalStages, make_context, recommend, recommend_many
from foveate.replay.served import replay
from foveate.state.base import ServedRequest, ViewerEvent
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.store import SqliteState

NOW = 1_742_169_600_000_000  # the end of the small world's two weeks


@pytest.fixture
def state(small_bundle: Bundle) -> Iterator[SqliteState]:
    with SqliteState(default_state(small_bundle.path), create=False) as opened:
        yield opened


def context_of(bundle: Bundle, request: RecommendRequest, name: str = "r") -> RequestContext:
    return make_context(request, bundle.bundle_id, clock=lambda: NOW, request_id=name)


def ask(bundle: Bundle, state: SqliteState, request: RecommendRequest) -> Slate:
    return asyncio.run(recommend(request, context_of(bundle, request), LocalStages(bundle.model, state)))


def test_a_context_pins_what_the_request_leaves_open() -> None:
    request = RecommendRequest("u", surface="tv", filters=Filters(max_maturity=6))
    context = make_context(request, "b", clock=lambda: 1000, budget=50)
    assert (context.now, context.deadline, context.bundle_id, context.surface) == (1000, 1050, "b", "tv")
    assert context.filters == request.filters
    other = make_context(request, "b", clock=lambda: 1000)
    assert context.request_id != other.request_id
    pinned = make_context(replace(request, now=7, seed=3), "b", clock=lambda: 1000, budget=50)
    assert (pinned.now, pinned.seed, pinned.deadline) == (7, 3, 1050)


def test_ids_of_later_requests_sort_after() -> None:
    moments = [NOW + 1000 * turn for turn in range(50)]
    ids = [
        make_context(RecommendRequest("u"), "b", clock=lambda moment=moment: moment).request_id  # type: ignore[misc]
        for moment in moments
    ]
    assert ids == sorted(ids)
    made = [uuid.UUID(one) for one in ids]
    assert {(one.version, one.variant) for one in made} == {(7, uuid.RFC_4122)}
    assert [one.int >> 80 for one in made] == [moment // 1000 for moment in moments]


def test_a_slate_is_full_and_says_where_each_item_came_from(small_bundle: Bundle, state: SqliteState) -> None:
    user = state.users(1)[0]
    slate = ask(small_bundle, state, RecommendRequest(user, k=8))
    assert slate.bundle_id == small_bundle.bundle_id
    assert slate.policy_id.startswith("mmr-")
    assert slate.feature_schema == small_bundle.manifest.feature_schema
    assert slate.state_version == state.history(user).version > 0
    assert [item.position for item in slate.items] == list(range(8))
    assert len({item.item_id for item in slate.items}) == 8
    for item in slate.items:
        assert np.isfinite(item.score)
        assert set(item.sources) <= set(small_bundle.manifest.sources)
        assert len(item.sources) > 0
        assert item.features.shape == (len(small_bundle.manifest.columns),)
        assert item.features.base is None, "a slate must not keep the whole feature matrix alive"


def test_a_batch_agrees_with_its_members(small_bundle: Bundle, state: SqliteState) -> None:
    requests = [RecommendRequest(user, k=6, seed=1) for user in state.users(40)]
    contexts = [context_of(small_bundle, request, str(i)) for i, request in enumerate(requests)]
    stages = LocalStages(small_bundle.model, state)
    many = recommend_many(small_bundle.model, state, requests, contexts)
    assert [slate.user_id for slate in many] == [request.user_id for request in requests]
    for request, context, slate in zip(requests, contexts, many, strict=True):
        single = asyncio.run(recommend(request, context, stages))
        assert [item.item_id for item in single.items] == [item.item_id for item in slate.items]
        np.testing.assert_allclose(
            [item.score for item in single.items], [item.score for item in slate.items], atol=1e-4
        )


def test_an_empty_batch_is_answered(small_bundle: Bundle, state: SqliteState) -> None:
    assert recommend_many(small_bundle.model, state, [], []) == []


def test_a_viewer_without_a_history_gets_a_cold_slate(small_bundle: Bundle, state: SqliteState) -> None:
    slate = ask(small_bundle, state, RecommendRequest("a stranger", k=5))
    assert slate.state_version == 0
    assert len(slate.items) == 5


def test_the_seen_the_filtered_and_the_unpublished_are_not_shown(small_bundle: Bundle, state: SqliteState) -> None:
    frame = small_bundle.model.catalog.frame
    rows = {row["item_id"]: row for row in frame.iter_rows(named=True)}
    early = NOW - 10 * 86_400_000_000
    for user in state.users(30):
        plain = ask(small_bundle, state, RecommendRequest(user, k=10))
        first = plain.items[0].item_id
        filters = Filters(exclude_items=(first,), exclude_channels=(rows[plain.items[1].item_id]["channel_id"],))
        slate = ask(small_bundle, state, RecommendRequest(user, k=10, filters=filters, now=early))
        shown = [rows[item.item_id] for item in slate.items]
        seen = set(state.history(user).item_ids)
        assert not seen & {row["item_id"] for row in shown}
        assert first not in {row["item_id"] for row in shown}
        assert not {row["channel_id"] for row in shown} & set(filters.exclude_channels)
        assert all(row["available_from"] is None or row["available_from"].timestamp() * 1e6 <= early for row in shown)


def test_no_slate_breaks_a_cap(small_bundle: Bundle, state: SqliteState) -> None:
    frame = small_bundle.model.catalog.frame
    channels = dict(zip(frame["item_id"], frame["channel_id"], strict=True))
    cap = small_bundle.model.recipe.constraints.max_per_channel
    assert cap is not None
    for user in state.users(60):
        slate = ask(small_bundle, state, RecommendRequest(user, k=10))
        assert max(Counter(channels[item.item_id] for item in slate.items).values()) <= cap


def test_a_viewer_who_has_seen_everything_gets_an_empty_slate(small_bundle: Bundle, tmp_path: Path) -> None:
    with SqliteState(tmp_path / "s") as state:
        state.append([ViewerEvent("u", item, "watch", 3.0, NOW) for item in small_bundle.model.catalog.items.ids])
        assert ask(small_bundle, state, RecommendRequest("u")).items == ()


def test_a_record_remakes_its_slate_after_the_viewer_has_moved_on(small_bundle: Bundle, tmp_path: Path) -> None:
    with SqliteState(tmp_path / "s") as state, SqliteImpressions(tmp_path / "s") as sink:
        ids = small_bundle.model.catalog.items.ids
        state.append([ViewerEvent("u", item, "long_view", occurred_at=NOW - 10**9) for item in ids[:9]])
        request = RecommendRequest("u", k=7)
        context = context_of(small_bundle, request, "r1")
        slate = asyncio.run(recommend(request, context, LocalStages(small_bundle.model, state)))
        sink.write([ServedRequest(request, context, slate)])
        first = slate.items[0].item_id
        # One now, and one that arrives late and belongs before the others.
        state.append([ViewerEvent("u", first, "like", occurred_at=NOW), ViewerEvent("u", ids[20], "like", 1.0, 5)])
        assert first not in {item.item_id for item in ask(small_bundle, state, request).items}
        result = replay(sink.read("r1"), small_bundle, state)
        assert result.differences == ()
        assert result.same


def test_a_record_that_was_altered_is_found_out(small_bundle: Bundle, state: SqliteState) -> None:
    user = state.users(1)[0]
    request = RecommendRequest(user, k=5, seed=0)
    context = context_of(small_bundle, request)
    slate = ask(small_bundle, state, request)
    swapped = replace(slate, items=(replace(slate.items[0], item_id="v99999"), *slate.items[1:]))
    scored = replace(slate, items=(replace(slate.items[0], score=slate.items[0].score + 0.01), *slate.items[1:]))
    other = replace(slate.items[0], features=slate.items[0].features + 1)
    changed = {
        "item was v99999": swapped,
        "score was": scored,
        "features.": replace(slate, items=(other, *slate.items[1:])),
        "length": replace(slate, items=slate.items[:-1]),
        "policy_id": replace(slate, policy_id="mmr-0"),
        "state_version": replace(slate, state_version=slate.state_version - 1),
    }
    assert replay(ServedRequest(request, context, slate), small_bundle, state).same
    for text, record in changed.items():
        result = replay(ServedRequest(request, context, record), small_bundle, state)
        assert not result.same
        assert any(text in line for line in result.differences) or text == "state_version"


def test_another_bundle_cannot_replay(small_bundle: Bundle, state: SqliteState) -> None:
    request = RecommendRequest("u")
    context = replace(context_of(small_bundle, request), bundle_id="another")
    with pytest.raises(BundleError, match="'another'"):
        replay(ServedRequest(request, context, ask(small_bundle, state, request)), small_bundle, state)
