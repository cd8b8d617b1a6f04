"""Events of many threads in one transaction: what is acknowledged is on the disk, what is refused is not there."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from foveate.core.errors import RequestError, StateError
from foveate.core.messages import Filters, RecommendRequest, RequestContext, Slate, SlateItem
from foveate.state.base import ServedRequest, ViewerEvent
from foveate.state.connect import open_viewers
from foveate.state.event_checks import clamped, value_range
from foveate.state.sqlite.config import FileConfig
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.store import SqliteState

NOW = 1_700_000_000_000_000


def event(name: str, user: str = "u") -> ViewerEvent:
    return ViewerEvent(user, name, "click", event_id=name)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the write lock, as another process does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def transactions(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT writes FROM store").fetchone()[0])


def test_events_that_wait_together_go_in_one_transaction(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with SqliteState(path, config=FileConfig(write_timeout_s=60)) as state, ThreadPoolExecutor(20) as pool:
        state.append([event("first")])
        before = transactions(path)
        with held(path):
            asked = [pool.submit(state.append, [event(f"i{number}")]) for number in range(20)]
            while len(state._writer._waiting) < 20:
                threading.Event().wait(0.01)
        assert [one.result() for one in asked] == [1] * 20
        assert transactions(path) == before + 1
        assert len(state.history("u").item_ids) == 21


def test_an_event_that_waits_too_long_is_refused_and_never_stored(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with SqliteState(path, config=FileConfig(write_timeout_s=0.2)) as state:
        with held(path):
            for name in "ab":
                with pytest.raises(StateError, match=r"not free for 0.2 seconds: nothing was kept"):
                    state.append([event(name)])
            assert state.history("u").item_ids == ()
        assert state.append([event("c")]) == 1
        assert state.history("u").item_ids == ("c",)


def test_a_write_that_fails_undoes_nothing_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with SqliteState(path, config=FileConfig(write_timeout_s=60)) as state, ThreadPoolExecutor(3) as pool:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "CREATE TRIGGER no_b BEFORE INSERT ON events WHEN NEW.item_id = 'b'"
                " BEGIN SELECT RAISE(ABORT, 'not b'); END"
            )
        with held(path):
            asked = [pool.submit(state.append, [event(f"{name}1"), event(name)]) for name in "abc"]
            while len(state._writer._waiting) < 3:
                threading.Event().wait(0.01)
        assert [asked[place].result() for place in (0, 2)] == [2, 2]
        with pytest.raises(StateError, match="not b"):
            asked[1].result()
        assert set(state.history("u").item_ids) == {"a", "a1", "c", "c1"}


def test_what_waits_is_written_before_the_store_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    state = SqliteState(path, config=FileConfig(write_timeout_s=60))
    with ThreadPoolExecutor(1) as pool:
        with held(path):
            asked = pool.submit(state.append, [event("a")])
            while not state._writer._waiting:
                threading.Event().wait(0.01)
        state.close()
        assert asked.result() == 1
    with SqliteState(path) as again:
        assert again.history("u").item_ids == ("a",)


@pytest.mark.parametrize(("setting", "level"), [("full", 2), ("normal", 1)])
def test_events_are_as_safe_as_the_place_says(setting: str, level: int, tmp_path: Path) -> None:
    """FULL (2) has the disk confirm every transaction before it is acknowledged; by default that is so."""
    with open_viewers(f"sqlite://{tmp_path}/s?synchronous={setting}") as state:
        assert isinstance(state, SqliteState)
        assert state._writer.run(synchronous) == level
    with SqliteState(tmp_path / "s") as usual:
        assert usual._writer.run(synchronous) == 2
    with SqliteImpressions(tmp_path / "s") as sink:
        assert sink._writer.run(synchronous) == 1


def synchronous(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA synchronous").fetchone()[0])


@pytest.mark.parametrize(
    ("kind", "value", "at"),
    [
        ("watch", float("nan"), None),
        ("watch", float("inf"), None),
        ("watch", -1.0, None),
        ("rate", 1e9, None),
        ("like", 1e9, None),
        ("like", 1.0, 7_226_582_400_000_000),
    ],
)
def test_what_nobody_can_have_done_is_refused_and_said(kind: str, value: float, at: int | None, tmp_path: Path) -> None:
    with SqliteState(tmp_path / "s", clock=lambda: NOW) as state:
        with pytest.raises(RequestError, match=f"'{kind}' of viewer 'u'"):
            state.append([event("a"), ViewerEvent("u", "b", kind, value, at)])
        assert state.history("u").item_ids == ()


def test_what_can_be_mended_is_mended_and_counted() -> None:
    late, huge, fine = (
        ViewerEvent("u", "a", "like", 1.0, 7_226_582_400_000_000),
        ViewerEvent("u", "a", "rate", 1e9, NOW),
        ViewerEvent("u", "a", "watch", 30.0, NOW + 1_000_000),
    )
    negative, unknown = (ViewerEvent("u", "a", "watch", value) for value in (-1.0, float("nan")))
    taken, changed = clamped([late, huge, fine, negative, unknown], NOW)
    assert changed == 2
    assert taken[0].occurred_at == NOW
    assert taken[1].value == value_range("rate")[1]
    assert taken[2:] == [fine, negative, unknown]


def test_a_reader_does_not_hold_up_who_is_to_be_forgotten(tmp_path: Path) -> None:
    """The bytes stay in the log while somebody reads from it, and are wiped when nobody does any more."""
    path = tmp_path / "s"
    with SqliteState(path) as state, SqliteImpressions(path) as sink:
        state.append([ViewerEvent("erika-mustermann", "a", "comment", text="ach so"), event("b")])
        sink.write([served("r1", "erika-mustermann")])
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchone()
            erased = state.erase("erika-mustermann")
            assert (erased.events, erased.requests) == (1, 1)
            assert "the next write" in state.wipe()
            assert state.history("erika-mustermann").item_ids == ()
            assert state.append([event("c")]) == 1
            reader.execute("COMMIT")
        assert state._database.wipe()
        left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"erika" not in left
    assert b"ach so" not in left


def served(request_id: str, user: str) -> ServedRequest:
    context = RequestContext(request_id, 5, "b1", 9, "home", 7, Filters())
    item = SlateItem("x", 0, 0.5, ("attention",), np.ones(3, dtype=np.float32))
    return ServedRequest(RecommendRequest(user), context, Slate(request_id, user, "b1", "mmr-1", "f1", (item,)))


def test_a_full_disk_refuses_the_whole_and_is_got_over(tmp_path: Path) -> None:
    with SqliteState(tmp_path / "s") as state:
        state.append([event("a")])
        pages = state._writer.run(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
        state._writer.run(lambda connection: connection.execute(f"PRAGMA max_page_count={pages}").fetchone())
        with pytest.raises(StateError, match="full"):
            state.append([event(f"i{number}") for number in range(1000)])
        assert state.history("u").item_ids == ("a",)
        state._writer.run(lambda connection: connection.execute("PRAGMA max_page_count=1000000").fetchone())
        assert state.append([event(f"i{number}") for number in range(1000)]) == 1000
