"""The SQLite file: bulk import, several processes and threads, erasure, and files that cannot be used."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from foveate.core.errors import RequestError, SchemaError, StateError
from foveate.core.messages import RecommendRequest, RequestContext, Slate, SlateItem
from foveate.data.dataset import Dataset
from foveate.data.schema import KIND_DTYPE, TIMESTAMP
from foveate.state.base import PinnedState, ServedRequest, ViewerEvent
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.schema import EVENT_INDEXES
from foveate.state.sqlite.store import SqliteState

EVENTS = pl.DataFrame(
    {
        "user_id": ["v", "u", "u", "u"],
        "item_id": ["a", "c", "b", "a"],
        "kind": pl.Series(["click", "like", "click", "watch"], dtype=KIND_DTYPE),
        "value": [1.0, None, 1.0, 12.5],
        "occurred_at": pl.Series([None, 30, 20, None], dtype=pl.Int64).cast(TIMESTAMP),
        "order": [0, 2, 1, 0],
    }
)


def indexes(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()
    connection.close()
    return {name for (name,) in names}


def test_a_table_is_imported_in_each_viewers_order(tmp_path: Path) -> None:
    with SqliteState(tmp_path / "s") as state:
        assert state.import_events(EVENTS) == 4
        history = state.history("u")
        assert history.item_ids == ("a", "b", "c")
        assert history.kinds == ("watch", "click", "like")
        assert history.values.tolist() == [12.5, 1.0, 1.0]
    assert set(EVENT_INDEXES) <= indexes(tmp_path / "s")


def test_a_second_import_adds_only_what_is_new(tmp_path: Path) -> None:
    with SqliteState(tmp_path / "s") as state:
        state.import_events(EVENTS.head(2).lazy())
        assert state.import_events(EVENTS) == 2
        assert state.import_events(EVENTS) == 0


def test_a_whole_dataset_is_imported(small_world: Dataset, tmp_path: Path) -> None:
    log = small_world.log().frame
    with SqliteState(tmp_path / "s") as state:
        assert state.import_events(small_world.events) == log.height
        user = log["user_id"][0]
        assert list(state.history(user).item_ids) == log.filter(pl.col("user_id") == user)["item_id"].to_list()


def test_a_table_without_a_needed_column_is_refused(tmp_path: Path) -> None:
    with SqliteState(tmp_path / "s") as state, pytest.raises(SchemaError, match=r"'kind' is missing; .*'order'"):
        state.import_events(EVENTS.drop("kind", "order"))


def test_threads_append_without_losing_an_event(tmp_path: Path) -> None:
    with SqliteState(tmp_path / "s") as state, ThreadPoolExecutor(8) as pool:
        events = [[ViewerEvent(f"u{i % 3}", f"i{i}", "click")] for i in range(120)]
        assert sum(pool.map(state.append, events)) == 120
        assert sum(len(state.history(f"u{i}").item_ids) for i in range(3)) == 120


def test_processes_open_and_append_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from foveate.state.base import ViewerEvent\n"
        "from foveate.state.sqlite.store import SqliteState\n"
        "with SqliteState(Path(sys.argv[1])) as state:\n"
        "    for i in range(50): state.append([ViewerEvent('u', f'{sys.argv[2]}-{i}', 'click')])\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path / "s", str(i)], stderr=subprocess.PIPE)
        for i in range(3)
    ]
    for run in runs:
        _, said = run.communicate(timeout=60)
        assert run.returncode == 0, said.decode()
    with SqliteState(tmp_path / "s") as state:
        assert len(set(state.history("u").item_ids)) == 150


def test_a_pinned_state_does_not_move(tmp_path: Path) -> None:
    with SqliteState(tmp_path / "s") as state:
        state.append([ViewerEvent("u", "a", "click")])
        pinned = PinnedState(state, state.history("u").version)
        state.append([ViewerEvent("u", "b", "click")])
        assert pinned.history("u").item_ids == ("a",)
        assert pinned.history("u", 10**9).item_ids == ("a",)
        with pytest.raises(RequestError, match="pinned"):
            pinned.append([ViewerEvent("u", "c", "click")])


def test_a_forgotten_viewer_leaves_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "s"
    context = RequestContext("r", 1, "b", 2, "home", 0, RecommendRequest("erika").filters)
    item = SlateItem("film", 0, 1.0, (), np.zeros(1, dtype=np.float32))
    slate = Slate("r", "erika-mustermann", "b", "p", "f", (item,))
    with SqliteState(path) as state, SqliteImpressions(path) as sink:
        state.append([ViewerEvent("erika-mustermann", "a", "comment", text="ach so"), ViewerEvent("u", "a", "click")])
        sink.write([ServedRequest(RecommendRequest("erika-mustermann"), context, slate)])
        last = state.history("u").version
        erased = state.erase("erika-mustermann")
        assert (erased.events, erased.requests, state.wipe()) == (1, 1, "")
        assert state.history("erika-mustermann").item_ids == ()
        assert state.history("u").version == last
        state.append([ViewerEvent("u", "b", "click")])
        assert state.history("u").version > last
        left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"erika" not in left
    assert b"ach so" not in left


def test_an_erased_version_is_never_given_again(tmp_path: Path) -> None:
    with SqliteState(tmp_path / "s") as state:
        state.append([ViewerEvent("u", "a", "click")])
        first = state.history("u").version
        state.erase("u")
        state.append([ViewerEvent("u", "b", "click")])
        assert state.history("u").version > first


def test_an_absent_file_may_be_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no such file"):
        SqliteState(tmp_path / "s", create=False)
    with pytest.raises(StateError, match="folder"):
        SqliteState(tmp_path / "none" / "s")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("store", [SqliteState, SqliteImpressions])
def test_files_that_cannot_be_used_are_refused(store: type[SqliteState], tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"no database at all" * 100)
    with pytest.raises(StateError, match="not a database"):
        store(text)
    assert text.read_bytes() == b"no database at all" * 100
    with pytest.raises(StateError, match="unable to open"):
        store(tmp_path)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "other")
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    before = (tmp_path / "other").read_bytes()
    with pytest.raises(StateError, match="another program"):
        SqliteState(tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == before


def test_another_version_is_refused(tmp_path: Path) -> None:
    SqliteState(tmp_path / "s").close()
    connection = sqlite3.connect(tmp_path / "s")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StateError, match="version 99"):
        SqliteState(tmp_path / "s")


def test_a_damaged_page_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with SqliteState(path) as state:
        state.append([ViewerEvent("u", f"item-{i}", "click") for i in range(2000)])
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(bytes(content))
    with pytest.raises(StateError, match="cannot be used"), SqliteState(path) as state:
        state.history("u")
