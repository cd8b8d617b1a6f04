"""A SQLite file does not grow without end: long histories and old impressions are dropped, unread exports are not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from foveate.core.errors import ConfigError, NotFoundError, StateError
from foveate.core.messages import Filters, RecommendRequest, RequestContext, Slate, SlateItem
from foveate.state.base import ServedRequest, ViewerEvent
from foveate.state.connect import open_impressions, open_viewers
from foveate.state.copying import copy_state
from foveate.state.record import pack, unpack
from foveate.state.sqlite.config import FileConfig, read_place
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.store import SqliteState

MINUTE = 60_000_000
TEN_MINUTES = 10 / 1440
FEATURES = 60


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now


def watched(*items: str, user: str = "u") -> list[ViewerEvent]:
    return [ViewerEvent(user, item, "click", event_id=f"id-{item}") for item in items]


def served(request_id: str, seed: int = 0, items: int = 10, user: str = "u") -> ServedRequest:
    """A slate whose features are as hard to pack as real ones: some columns constant, some of any value."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(items, FEATURES)).astype(np.float32)
    features[:, ::2] = features[:1, ::2].round(1)
    context = RequestContext(request_id, 5, "b1", 9, "home", 7, Filters())
    slate = [SlateItem(f"v{seed}-{n}", n, float(n) / 3, ("attention", "popularity"), features[n]) for n in range(items)]
    return ServedRequest(
        RecommendRequest(user), context, Slate(request_id, user, "b1", "mmr-1", "f1", tuple(slate), (), 0.25, 3)
    )


def test_a_history_has_a_longest_length_and_says_what_it_can_no_longer_read(tmp_path: Path) -> None:
    with SqliteState(tmp_path / "s", config=FileConfig(history=3, past=2)) as state:
        versions = []
        for item in "abcdefg":
            state.append(watched(item))
            versions.append(state.history("u").version)
        assert state.history("u").item_ids == ("e", "f", "g")
        assert state.histories(["u"])[0].item_ids == ("e", "f", "g")
        assert state.history("u", versions[5]).item_ids == ("d", "e", "f")
        assert state.history("u", versions[4]).item_ids == ("c", "d", "e")
        with pytest.raises(NotFoundError, match=f"'u' at version {versions[3]} is no longer kept"):
            state.history("u", versions[3])
        held = [one.event.item_id for part in state.kept() for one in part]
        assert held == ["c", "d", "e", "f", "g"]
        # An id is known for as long as its event is kept.
        assert state.append(watched("c", "g")) == 0
        assert state.append(watched("a")) == 1
        state.erase("u")
        state.append(watched("a"))
        assert state.history("u", state.history("u").version).item_ids == ("a",)


def test_of_a_long_history_no_more_is_read_than_it_may_have(tmp_path: Path) -> None:
    """The plan asks for no sort, so the read ends after as many rows; the whole history is not touched."""
    with SqliteState(tmp_path / "s", config=FileConfig(history=20, past=10**6)) as state:
        state.append(watched(*map(str, range(500))))
        assert state.history("u").item_ids == tuple(map(str, range(480, 500)))
        plan = state._database.rows(
            "EXPLAIN QUERY PLAN SELECT seq, item_id, kind, value, occurred_at FROM events"
            " WHERE user_id = ? AND seq <= ? ORDER BY seq DESC LIMIT ?",
            ("u", 1 << 60, 20),
        )
        assert [row[-1] for row in plan] == ["SEARCH events USING INDEX events_by_user (user_id=? AND rowid<?)"]


def test_an_import_brings_the_newest_of_a_long_history_and_never_older_ones_later(tmp_path: Path) -> None:
    import polars as pl

    def table(start: int, end: int) -> pl.DataFrame:
        numbers = pl.Series(range(start, end), dtype=pl.Int64)
        times = (numbers * 1_000_000).cast(pl.Datetime("us", "UTC"))
        columns = {"item_id": numbers.cast(pl.String), "occurred_at": times, "order": numbers}
        return pl.DataFrame(columns).with_columns(pl.lit("u").alias("user_id"), pl.lit("click").alias("kind"))

    with SqliteState(tmp_path / "s", config=FileConfig(history=3, past=2)) as state:
        assert state.import_events(table(0, 10)) == 5
        assert state.history("u").item_ids == ("7", "8", "9")
        assert state.import_events(table(0, 4)) == 0
        assert state.import_events(table(3, 12)) == 2
        assert state.history("u").item_ids == ("9", "10", "11")


@pytest.mark.parametrize("what", ["impressions", "events"])
def test_the_file_is_as_large_after_many_retentions_as_after_a_few(what: str, tmp_path: Path) -> None:
    path, clock, number = tmp_path / "s", Clock(), 0
    config = FileConfig(impressions_days=TEN_MINUTES, events_days=TEN_MINUTES)
    sizes = []
    with (
        SqliteState(path, config=config, clock=clock) as state,
        SqliteImpressions(path, config=config, clock=clock) as sink,
    ):
        for minute in range(300):
            clock.now += MINUTE
            for _ in range(20):
                number += 1
                if what == "impressions":
                    sink.write([served(f"r{number}", number % 50, user=f"u{number}")])
                else:
                    state.append([ViewerEvent(f"u{number}", f"i{place}", "click", text="x" * 50) for place in range(5)])
            if minute + 1 in (30, 300):
                sizes.append(size(path))
        kept = len(sink.request_ids(None)) if what == "impressions" else sum(len(part) for part in state.kept())
    assert sizes[1] < 1.1 * sizes[0]
    per_minute = 20 if what == "impressions" else 100
    assert 10 * per_minute <= kept <= 12 * per_minute
    if what == "impressions":
        with pytest.raises(NotFoundError), SqliteImpressions(path) as sink:
            sink.read("r1")


def tidied(store: SqliteState | SqliteImpressions) -> None:
    """Wait until the writer has tidied up after what was written: it begins the next write only then."""
    store._writer.run(lambda connection: None)


def size(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def test_room_is_given_back_to_the_disk(tmp_path: Path) -> None:
    path, clock = tmp_path / "s", Clock()
    config = FileConfig(impressions_days=TEN_MINUTES)
    with SqliteImpressions(path, config=config, clock=clock) as sink:
        sink.write([served(f"r{number}", number) for number in range(300)])
        full = size(path)
        for minute in range(20):
            clock.now += MINUTE
            sink.write([served(f"late{minute}")])
            tidied(sink)
        assert size(path) < full / 4


def test_a_clock_that_is_set_back_or_forward_loses_nothing_early(tmp_path: Path) -> None:
    clock, config = Clock(), FileConfig(impressions_days=TEN_MINUTES)
    with SqliteImpressions(tmp_path / "s", config=config, clock=clock) as sink:
        for place, step in enumerate((0, -60 * MINUTE, MINUTE, 9 * MINUTE)):
            clock.now += step
            sink.write([served(f"r{place}")])
        tidied(sink)
        assert set(sink.request_ids()) == {"r0", "r1", "r2", "r3"}
        clock.now += 5 * MINUTE
        sink.write([served("r4")])
        tidied(sink)
        assert set(sink.request_ids()) == {"r0", "r3", "r4"}


def test_what_an_export_has_not_read_stays(tmp_path: Path) -> None:
    path, clock = tmp_path / "s", Clock()
    config = FileConfig(history=2, past=1, events_days=TEN_MINUTES, impressions_days=TEN_MINUTES)
    with (
        SqliteState(path, config=config, clock=clock) as state,
        SqliteImpressions(path, config=config, clock=clock) as sink,
    ):
        sink.write([served("r0"), served("r1"), served("r2")])
        state.append(watched("a"))
        read = state.history("u").version
        state.move_export("nightly", read)
        sink.move_export("nightly", 1)
        state.append(watched(*"bcdef"))
        clock.now += 60 * MINUTE
        sink.write([served("r3")])
        state.append(watched("g", user="v"))
        tidied(state)
        tidied(sink)
        assert [one.event.item_id for part in state.kept() for one in part] == ["b", "c", "d", "e", "f", "g"]
        assert set(sink.request_ids()) == {"r1", "r2", "r3"}
        state.move_export("nightly", state.version())
        sink.move_export("nightly", 4)
        clock.now += MINUTE
        sink.write([served("r4")])
        state.append(watched("h", user="v"))
        tidied(state)
        tidied(sink)
        assert [one.event.item_id for part in state.kept() for one in part] == ["g", "h"]
        assert set(sink.request_ids()) == {"r3", "r4"}


def test_a_record_is_a_fraction_of_what_it_was_and_comes_back_whole() -> None:
    wrote = served("r1")
    packed = pack(wrote)
    # A row a request and a row an item took 8 KB.
    assert len(packed) < 2_500
    back = unpack(packed)
    assert (back.request, back.context) == (wrote.request, wrote.context)
    for one, other in zip(back.slate.items, wrote.slate.items, strict=True):
        assert (one.item_id, one.position, one.score, one.sources) == (
            other.item_id,
            other.position,
            other.score,
            other.sources,
        )
        assert one.features.dtype == np.float32
        np.testing.assert_array_equal(one.features, other.features)
    assert unpack(pack(served("empty", items=0))).slate.items == ()


def test_a_record_of_a_newer_foveate_or_a_damaged_one_is_refused() -> None:
    with pytest.raises(StateError, match="format 9"):
        unpack(b"\x09" + pack(served("r1"))[1:])
    with pytest.raises(StateError, match="damaged"):
        unpack(pack(served("r1"))[:-20])
    with pytest.raises(StateError, match="damaged"):
        unpack(b"")


def test_a_place_says_how_a_file_is_kept(tmp_path: Path) -> None:
    place = f"sqlite://{tmp_path}/a%20b?history=2&past=0&impressions_days=1.5&write_timeout_s=9&events_days=3"
    path, config = read_place(place)
    assert path == tmp_path / "a b"
    assert config == FileConfig(
        history=2, past=0, events_days=3.0, impressions_days=1.5, synchronous="full", write_timeout_s=9.0
    )
    with open_viewers(place) as state, open_impressions(place) as sink:
        state.append(watched(*"abc"))
        sink.write([served("r1")])
        assert state.history("u").item_ids == ("b", "c")
    with open_viewers(tmp_path / "a b", create=False) as state:
        assert state.history("u").item_ids == ("b", "c")
    assert read_place(str(tmp_path)) == (tmp_path, FileConfig())
    for wrong, fault in (
        ("sqlite://runs/s", "begins with '/'"),
        ("sqlite:///s?history=0", "at least 1"),
        ("sqlite:///s?synchronous=off", "synchronous"),
        ("sqlite:///s?histroy=1", "unknown setting 'histroy'"),
        ("sqlite:///s?write_timeout_s=0", "above 0"),
        ("sqlite:///s?impressions_days=-1", "at least 0"),
    ):
        with pytest.raises(ConfigError, match=fault):
            open_viewers(wrong)


def test_a_copy_into_a_file_with_shorter_histories_says_what_it_lacks(tmp_path: Path) -> None:
    with SqliteState(tmp_path / "s") as state:
        state.append(watched(*"abcdefg"))
    copied = copy_state(tmp_path / "s", f"sqlite://{tmp_path}/t?history=3&past=2")
    assert (copied.events, copied.missing_events) == (7, 2)


def test_a_history_that_is_much_too_long_is_cut_step_by_step(tmp_path: Path) -> None:
    """As in a file of an older Foveate: whoever adds an event does not wait for all of it to be dropped."""
    with SqliteState(tmp_path / "s") as state:
        state.append(watched(*map(str, range(1000))))
    with SqliteState(tmp_path / "s", config=FileConfig(history=10, past=0)) as state:
        left = []
        for number in range(12):
            state.append(watched(f"new{number}"))
            left.append(sum(len(part) for part in state.kept()))
        assert left[0] > 800
        assert left[-1] == 10
        assert state.history("u").item_ids == tuple(f"new{number}" for number in range(2, 12))
