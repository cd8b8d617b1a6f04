"""What every store of viewers' events and of impressions promises, tried on each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from foveate.errors import NotFoundError, RequestError
from foveate.messages import (
    NO_TIME,
    Filters,
    RecommendRequest,
    RequestContext,
    Slate,
    SlateItem,
    ViewerHistory,
)
from foveate.state.base import ImpressionSink, ServedRequest, ViewerEvent, ViewerState
from foveate.state.impressions import SqliteImpressions
from foveate.state.sqlite import SqliteState

STATES: dict[str, Callable[[Path], SqliteState]] = {"sqlite": SqliteState}
SINKS: dict[str, Callable[[Path], SqliteImpressions]] = {"sqlite": SqliteImpressions}


@pytest.fixture(params=STATES)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ViewerState]:
    with STATES[request.param](tmp_path / "store") as store:
        yield store


@pytest.fixture(params=SINKS)
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ImpressionSink]:
    with SINKS[request.param](tmp_path / "store") as store:
        yield store


def event(item: str, at: int | None = None, *, user: str = "u", **more: str) -> ViewerEvent:
    return ViewerEvent(user_id=user, item_id=item, kind="click", occurred_at=at, **more)


def served(request_id: str = "r1", user: str = "u") -> ServedRequest:
    filters = Filters(exclude_items=("a", "b"), languages=("de",), max_maturity=12)
    request = RecommendRequest(user, k=2, surface="home", filters=filters, now=5, seed=7)
    context = RequestContext(request_id, 5, "b1", 9, "home", 7, filters)
    items = (
        SlateItem("x", 0, 0.1, ("attention", "popularity"), np.array([1.5, np.nan, -2], dtype=np.float32)),
        SlateItem("y\u0000é", 1, -3.25, (), np.array([], dtype=np.float32)),
    )
    return ServedRequest(
        request, context, Slate(request_id, user, "b1", "mmr-1", "f1", items, ("freshness",), 0.25, 42)
    )


def same_history(one: ViewerHistory, other: ViewerHistory) -> bool:
    fields = ("user_id", "item_ids", "kinds", "version")
    return all(getattr(one, f) == getattr(other, f) for f in fields) and (
        np.array_equal(one.values, other.values) and np.array_equal(one.times, other.times)
    )


def test_an_unknown_viewer_has_an_empty_history(state: ViewerState) -> None:
    history = state.history("nobody")
    assert history.item_ids == ()
    assert history.version == 0
    assert len(history.times) == len(history.values) == 0


def test_events_come_back_oldest_first_with_all_they_carry(state: ViewerState) -> None:
    late = ViewerEvent("u", "film", "watch", value=31.5, occurred_at=20)
    assert state.append([late, event("early", 10), event("other", 1, user="v")]) == 3
    history = state.history("u")
    assert history.item_ids == ("early", "film")
    assert history.kinds == ("click", "watch")
    assert history.values.tolist() == [1.0, 31.5]
    assert history.times.tolist() == [10, 20]


def test_an_event_without_a_time_stands_where_it_arrived(state: ViewerState) -> None:
    state.append([event("a"), event("b", 10), event("c"), event("d", 20)])
    history = state.history("u")
    assert history.item_ids == ("a", "b", "c", "d")
    assert history.times.tolist() == [NO_TIME, 10, NO_TIME, 20]


def test_an_event_is_kept_once(state: ViewerState) -> None:
    assert state.append([event("a", event_id="e1"), event("b", event_id="e1")]) == 1
    assert state.append([event("a", event_id="e1"), event("c", event_id="e2")]) == 1
    assert state.history("u").item_ids == ("a", "c")


def test_a_version_reads_the_past_even_after_late_arrivals(state: ViewerState) -> None:
    state.append([event("b", 20), event("d", 40)])
    before = state.history("u")
    state.append([event("x", 5, user="v"), event("a", 10), event("c", 30)])
    after = state.history("u")
    assert after.version > before.version
    assert after.item_ids == ("a", "b", "c", "d")
    assert same_history(state.history("u", before.version), before)
    assert same_history(state.history("u", after.version), after)
    assert state.history("u", 0).item_ids == ()


def test_an_unknown_kind_is_refused_and_nothing_is_kept(state: ViewerState) -> None:
    with pytest.raises(RequestError, match="'nod'"):
        state.append([event("a"), ViewerEvent("u", "b", "nod")])
    assert state.history("u").item_ids == ()


def test_a_served_request_comes_back_whole(sink: ImpressionSink) -> None:
    sink.write([served("r0"), served("r1")])
    back, wrote = sink.read("r1"), served("r1")
    assert back.request == wrote.request
    assert back.context == wrote.context
    for name in (
        "request_id",
        "user_id",
        "bundle_id",
        "policy_id",
        "feature_schema",
        "relaxed",
        "relevance_paid",
        "state_version",
    ):
        assert getattr(back.slate, name) == getattr(wrote.slate, name)
    for one, other in zip(back.slate.items, wrote.slate.items, strict=True):
        assert (one.item_id, one.position, one.score, one.sources) == (
            other.item_id,
            other.position,
            other.score,
            other.sources,
        )
        assert one.features.dtype == np.float32
        np.testing.assert_array_equal(one.features, other.features)


def test_writing_twice_changes_nothing(sink: ImpressionSink) -> None:
    sink.write([served("r1", user="u")])
    sink.write([served("r1", user="someone else")])
    assert sink.read("r1").slate.user_id == "u"
    assert len(sink.read("r1").slate.items) == 2


def test_an_unknown_request_is_not_found(sink: ImpressionSink) -> None:
    sink.write([served("r1")])
    with pytest.raises(NotFoundError, match="'r2'"):
        sink.read("r2")
