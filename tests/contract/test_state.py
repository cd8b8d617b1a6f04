"""What every store of viewers' events and of impressions promises, tried on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foveate.core.errors import NotFoundError, RequestError
from foveate.core.messages import (
    NO_TIME,
    Filters,
    RecommendRequest,
    RequestContext,
    Slate,
    SlateItem,
    ViewerHistory,
)
from foveate.state.base import Export, ImpressionStore, KeptEvent, ServedRequest, ViewerEvent, ViewerStore
from foveate.state.connect import open_impressions, open_viewers
from foveate.state.redis.impressions import RedisImpressions
from foveate.state.sqlite.impressions import SqliteImpressions


@pytest.fixture
def sink(store: str) -> Iterator[ImpressionStore]:
    with open_impressions(store) as opened:
        yield opened


def event(item: str, at: int | None = None, *, user: str = "u", **more: str) -> ViewerEvent:
    return ViewerEvent(user_id=user, item_id=item, kind="click", occurred_at=at, **more)


def served(request_id: str = "r1", user: str = "u") -> ServedRequest:
    filters = Filters(exclude_items=("a", "b"), languages=("de",), max_maturity=12)
    request = RecommendRequest(user, k=2, surface="home", filters=filters, now=5, seed=7)
    context = RequestContext(request_id, 5, "b1", 9, "home", 7, filters)
    items = (
        SlateItem("x", 0, 0.1, ("attention", "popularity"), np.array([1.5, np.nan, -2], dtype=np.float32)),
        SlateItem("y\u0000é", 1, -3.25, (), np.array([], dtype=np.float32), "uniform_slots-1", 1 / 3),
    )
    return ServedRequest(
        request, context, Slate(request_id, user, "b1", "mmr-1", "f1", items, ("freshness",), 0.25, 42)
    )


def same_history(one: ViewerHistory, other: ViewerHistory) -> bool:
    fields = ("user_id", "item_ids", "kinds", "version")
    return all(getattr(one, f) == getattr(other, f) for f in fields) and (
        np.array_equal(one.values, other.values) and np.array_equal(one.times, other.times)
    )


def test_an_unknown_viewer_has_an_empty_history(state: ViewerStore) -> None:
    history = state.history("nobody")
    assert history.item_ids == ()
    assert history.version == 0
    assert len(history.times) == len(history.values) == 0


def test_events_come_back_oldest_first_with_all_they_carry(state: ViewerStore) -> None:
    late = ViewerEvent("u", "film", "watch", value=31.5, occurred_at=20)
    assert state.append([late, event("early", 10), event("other", 1, user="v")]) == 3
    history = state.history("u")
    assert history.item_ids == ("early", "film")
    assert history.kinds == ("click", "watch")
    assert history.values.tolist() == [1.0, 31.5]
    assert history.times.tolist() == [10, 20]


def test_an_event_without_a_time_stands_where_it_arrived(state: ViewerStore) -> None:
    state.append([event("a"), event("b", 10), event("c"), event("d", 20)])
    history = state.history("u")
    assert history.item_ids == ("a", "b", "c", "d")
    assert history.times.tolist() == [NO_TIME, 10, NO_TIME, 20]


def test_an_event_is_kept_once(state: ViewerStore) -> None:
    assert state.append([event("a", event_id="e1"), event("b", event_id="e1")]) == 1
    assert state.append([event("a", event_id="e1"), event("c", event_id="e2")]) == 1
    assert state.history("u").item_ids == ("a", "c")


def test_a_version_reads_the_past_even_after_late_arrivals(state: ViewerStore) -> None:
    state.append([event("b", 20), event("d", 40)])
    before = state.history("u")
    state.append([event("x", 5, user="v"), event("a", 10), event("c", 30)])
    after = state.history("u")
    assert after.version > before.version
    assert after.item_ids == ("a", "b", "c", "d")
    assert same_history(state.history("u", before.version), before)
    assert same_history(state.history("u", after.version), after)
    assert state.history("u", 0).item_ids == ()


def test_an_unknown_kind_is_refused_and_nothing_is_kept(state: ViewerStore) -> None:
    with pytest.raises(RequestError, match="'nod'"):
        state.append([event("a"), ViewerEvent("u", "b", "nod")])
    assert state.history("u").item_ids == ()


def test_a_served_request_comes_back_whole(sink: ImpressionStore) -> None:
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


def test_writing_twice_changes_nothing(sink: ImpressionStore) -> None:
    sink.write([served("r1", user="u")])
    sink.write([served("r1", user="someone else")])
    assert sink.read("r1").slate.user_id == "u"
    assert len(sink.read("r1").slate.items) == 2


def test_an_unknown_request_is_not_found(sink: ImpressionStore) -> None:
    sink.write([served("r1")])
    with pytest.raises(NotFoundError, match="'r2'"):
        sink.read("r2")


def test_several_histories_are_read_at_once(state: ViewerStore) -> None:
    state.append([event("a", 1), event("b", 2, user="v"), event("c", 3)])
    together = state.histories(["v", "nobody", "u"])
    assert [history.user_id for history in together] == ["v", "nobody", "u"]
    for history in together:
        assert same_history(history, state.history(history.user_id))
    assert state.histories([]) == []


def test_names_of_any_letters_come_back(state: ViewerStore) -> None:
    odd = ['a "b" \\', "ü\u0000", "x:y*[z]?", "[1,2,"]
    state.append([event(item, place, user=name) for name in odd for place, item in enumerate(odd)])
    assert state.users(10) == sorted(odd, key=str.encode)
    for name in odd:
        assert list(state.history(name).item_ids) == odd


def test_threads_lose_no_event(state: ViewerStore) -> None:
    batches = [[event(f"{number}-{place}", user=f"u{place % 3}") for place in range(6)] for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(state.append, batches)) == 120
    histories = state.histories(["u0", "u1", "u2"])
    assert [len(set(history.item_ids)) for history in histories] == [40, 40, 40]


def test_a_forgotten_viewer_is_new_and_lends_nobody_a_version(state: ViewerStore) -> None:
    state.append([event("a"), event("b", user="v")])
    version = state.history("u").version
    assert state.erase("u").events == 1
    assert state.history("u").version == 0
    assert state.users(10) == ["v"]
    state.append([event("c")])
    assert state.history("u").item_ids == ("c",)
    assert state.history("u").version > version


def test_what_is_kept_can_be_kept_elsewhere_with_its_versions(state: ViewerStore, tmp_path: Path) -> None:
    state.append([event("b", 20, event_id="e1"), ViewerEvent("v", "film", "comment", 2.5, 7, "e2", "r1:0", "nice")])
    state.append([event("a", 10), event("c")])
    held = [one for part in state.kept() for one in part]
    assert {one.event.item_id for one in held} == {"a", "b", "c", "film"}
    with open_viewers(tmp_path / "elsewhere") as other:
        assert other.keep(held) == 4
        assert other.keep(held) == 0
        for user in ("u", "v"):
            assert same_history(other.history(user), state.history(user))
        again = [one for part in other.kept() for one in part]
    assert sorted(again, key=order) == sorted(held, key=order)


def test_events_from_elsewhere_stand_behind_what_is_here(state: ViewerStore) -> None:
    state.append([event("here", event_id="e1"), event("here too", event_id="e2")])
    before = state.history("u")
    old = KeptEvent(event("old", event_id="e0"), before.version - 1, 5)
    far = KeptEvent(event("far", event_id="e9"), before.version + 100, 5)
    assert state.keep([old, old, far]) == 2
    assert same_history(state.history("u", before.version), before)
    assert state.history("u").item_ids == ("here", "here too", "old", "far")
    assert state.history("u").version == before.version + 100
    state.append([event("next")])
    assert state.history("u").version > before.version + 100


def order(one: KeptEvent) -> tuple[str, int]:
    return one.event.user_id, one.version


def test_requests_are_listed_latest_first(sink: ImpressionStore) -> None:
    for place, name in enumerate(["first", "second", "third"]):
        one = served(name)
        sink.write([replace(one, context=replace(one.context, now=5 + place))])
    assert sink.request_ids() == ["third", "second", "first"]
    assert sink.request_ids(2) == ["third", "second"]
    assert sink.request_ids(None) == ["third", "second", "first"]


def test_what_a_viewer_was_shown_is_erased_with_the_sessions_that_were_theirs(
    state: ViewerStore, sink: ImpressionStore
) -> None:
    sink.write([served("r1"), served("r2", user="v"), served("r3", user=""), served("r4", user=""), served("r5", "")])
    sink.write([served("r2", user="u")])
    state.append([event("a", impression_id="r3:0"), event("b", request_id="r4"), event("c", impression_id="r2:0")])
    erased = state.erase("u")
    assert (erased.events, erased.requests, erased.sessions) == (3, 3, 2)
    assert state.wipe() == ""
    for name in ("r1", "r3", "r4"):
        with pytest.raises(NotFoundError):
            sink.read(name)
    assert sink.request_ids() == ["r5", "r2"]
    assert sink.read("r2").slate.user_id == "v"
    again = state.erase("u")
    assert (again.events, again.requests, again.first) == (0, 0, None)
    with pytest.raises(RequestError, match="empty"):
        state.erase("")


def test_what_was_on_its_way_when_its_viewer_was_erased_is_not_kept(state: ViewerStore, sink: ImpressionStore) -> None:
    state.append([event("a", event_id="e1")])
    held = [one for part in state.kept() for one in part]
    waiting = served("r1")
    state.erase("u")
    # A batch of impressions that still waited, and a copy of before.
    sink.write([waiting])
    assert state.keep(held) == 0
    assert sink.request_ids() == []
    later = replace(waiting, context=replace(waiting.context, request_id="r2", deadline=1 << 60))
    sink.write([replace(later, slate=replace(later.slate, request_id="r2"))])
    assert sink.request_ids() == ["r2"]
    state.append([event("a", event_id="e1")])
    assert state.history("u").item_ids == ("a",)


def test_an_export_finds_what_came_since_and_holds_it(state: ViewerStore, sink: ImpressionStore) -> None:
    export = Export("nightly", "/exports/nightly", "/keys/k")
    state.register_export(export)
    state.register_export(replace(export, folder="/exports/moved"))
    assert list(state.exports()) == [replace(export, folder="/exports/moved")]
    sink.write([served("r1"), served("r2", user="v")])
    state.append([event("a", event_id="e1", request_id="r1"), event("b", user="v")])
    until = state.version()
    state.append([event("c")])
    found = [one for part in state.since(0, until) for one in part]
    assert sorted((one.event.item_id, one.event.request_id) for one in found) == [("a", "r1"), ("b", None)]
    requests = [one for part in sink.since(0) for one in part]
    assert [one.served.slate.request_id for one in requests] == ["r1", "r2"]
    assert [one.served.slate.request_id for part in sink.since(requests[0].sequence) for one in part] == ["r2"]
    assert [one.served.slate.request_id for one in sink.shown_to("v")] == ["r2"]
    state.move_export("nightly", until)
    sink.move_export("nightly", requests[-1].sequence)
    # What comes from elsewhere lies above the cursor, whatever version it had.
    state.keep([KeptEvent(event("old", user="w"), 1, 5)])
    assert [one.event.item_id for part in state.since(until, state.version()) for one in part] in (
        ["c", "old"],
        ["old", "c"],
    )
    erasure = state.erase("u").erasure_id
    assert list(state.pending("nightly")) == [(erasure, "u")]
    state.followed(erasure, "nightly")
    assert list(state.pending("nightly")) == []
    state.erase("v")
    state.drop_export("nightly")
    assert list(state.exports()) == []
    assert list(state.pending("nightly")) == []
    with pytest.raises(NotFoundError, match="nightly"):
        state.drop_export("nightly")
    assert len(state.secret()) == 32
    assert state.store_id()


def test_requests_get_growing_numbers_whatever_the_clock_says(store: str) -> None:
    now, day = 1_700_000_000_000_000, 86_400_000_000
    if "://" in store:
        sink: ImpressionStore = RedisImpressions(store, clock=lambda: now)
    else:
        sink = SqliteImpressions(Path(store), clock=lambda: now)
    with sink:
        for name, jump in (("r1", 0), ("r2", -2 * day), ("r3", 3 * day)):
            now += jump
            sink.write([served(name)])
        found = [one for part in sink.since(0) for one in part]
    assert [one.served.slate.request_id for one in found] == ["r1", "r2", "r3"]
    assert found[0].sequence < found[1].sequence < found[2].sequence


def test_a_bundles_latest_place_is_remembered(sink: ImpressionStore, tmp_path: Path) -> None:
    sink.remember_bundle("b1", tmp_path / "old")
    sink.remember_bundle("b1", tmp_path / "new")
    assert sink.bundle_path("b1") == tmp_path / "new"
    assert sink.bundles() == {"b1": tmp_path / "new"}
    with pytest.raises(NotFoundError, match="'b2'"):
        sink.bundle_path("b2")
