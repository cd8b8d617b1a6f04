"""A state file that vanishes, is replaced or is written over under a server is noticed, not written into nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from foveate.core.errors import StateError
from foveate.state.backup import backup_state
from foveate.state.base import ViewerEvent
from foveate.state.sqlite import database
from foveate.state.sqlite.database import FileIdentity, stored_incarnation
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.store import SqliteState


def event(name: str) -> list[ViewerEvent]:
    return [ViewerEvent("u", name, "click", event_id=name)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "here" / "state.sqlite"


@pytest.fixture
def state(path: Path) -> Iterator[SqliteState]:
    path.parent.mkdir()
    with SqliteState(path) as opened:
        opened.append(event("a"))
        yield opened


def names(path: Path) -> set[str]:
    return {file.name for file in path.parent.iterdir()}


def test_nothing_is_acknowledged_while_the_file_is_gone(state: SqliteState, path: Path, tmp_path: Path) -> None:
    path.rename(tmp_path / "away")
    for _ in range(3):
        with pytest.raises(StateError, match=r"is gone .*: put it back"):
            state.append(event("b"))
        with pytest.raises(StateError, match="is gone"):
            state.history("u")
    # Another thread has no connection yet, and must not make a new file.
    with ThreadPoolExecutor(1) as pool, pytest.raises(StateError, match="is gone"):
        pool.submit(state.history, "u").result()
    assert path.name not in names(path)
    (tmp_path / "away").rename(path)
    assert state.append(event("b")) == 1
    assert state.history("u").item_ids == ("a", "b")


def test_a_folder_that_is_gone_is_noticed(state: SqliteState, path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    with pytest.raises(StateError, match="is gone"):
        state.append(event("b"))


def test_a_replica_makes_no_file_and_uses_the_one_that_comes_back(path: Path) -> None:
    path.parent.mkdir()
    with SqliteState(path, create=False, lazy=True) as state, SqliteImpressions(path, create=False, lazy=True) as sink:
        for ask in (lambda: state.append(event("a")), lambda: state.history("u"), lambda: sink.write([]), state.check):
            with pytest.raises(StateError, match="no such file"):
                ask()
        assert names(path) == set()
        path.touch()
        with pytest.raises(StateError, match="is empty"):
            state.check()
        path.unlink()
        SqliteState(path).close()
        assert state.append(event("a")) == 1
        assert sink.request_ids() == []


def test_a_file_in_the_place_of_the_one_that_was_opened_is_noticed(state: SqliteState, path: Path) -> None:
    other = path.with_name("other")
    with SqliteState(other) as second:
        second.append(event("z"))
    first = path.rename(path.with_name("first"))
    other.rename(path)
    for ask in (lambda: state.append(event("b")), lambda: state.history("u"), state.check):
        with pytest.raises(StateError, match="another file than the one that was opened"):
            ask()
    path.unlink()
    first.rename(path)
    assert state.append(event("b")) == 1


@pytest.mark.parametrize("backup", [True, False])
def test_a_file_that_is_written_over_is_noticed(
    state: SqliteState, path: Path, tmp_path: Path, *, backup: bool
) -> None:
    other = tmp_path / "other"
    if backup:
        backup_state(path, other)
    else:
        SqliteState(other).close()
    own = path.read_bytes()
    path.write_bytes(other.read_bytes())
    for ask in (lambda: state.append(event("b")), lambda: state.history("u")):
        with pytest.raises(StateError, match="written over"):
            ask()
    path.write_bytes(own)
    assert state.history("u").item_ids == ("a",)
    assert state.append(event("b")) == 1


def test_a_file_is_known_by_its_place_and_its_content_is_read_where_it_has_changed_alone(tmp_path: Path) -> None:
    one, other = tmp_path / "one.sqlite", tmp_path / "other.sqlite"
    for path in (one, other):
        SqliteState(path).close()
    held = FileIdentity(one)
    # Before the connection has said what the file's own content is, any content passes.
    one.write_bytes(other.read_bytes())
    held.check()
    incarnation = stored_incarnation(one)
    assert incarnation is not None
    held = FileIdentity(one)
    held.hold("another store's")
    held.check()
    os.utime(one, ns=(1, 1))
    with pytest.raises(StateError, match="written over"):
        held.check()
    held.hold(incarnation)
    held.check()
    # Another file of the same size, time and content is another file.
    twin = Path(shutil.copy2(one, tmp_path / "twin.sqlite"))
    assert twin.stat().st_mtime_ns == one.stat().st_mtime_ns
    kept = one.rename(tmp_path / "kept.sqlite")
    twin.rename(one)
    with pytest.raises(StateError, match="another file than the one that was opened"):
        held.check()
    one.unlink()
    with pytest.raises(StateError, match="is gone"):
        held.check()
    with pytest.raises(StateError, match="is gone"):
        FileIdentity(one)
    kept.rename(one)
    held.check()


def test_a_file_that_is_whole_with_its_log_alone_is_used(state: SqliteState, path: Path) -> None:
    """As a full disk leaves it, where the log could be written into it in part."""
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as plain:
        [page] = plain.execute("SELECT rootpage FROM sqlite_master WHERE name = 'store'").fetchone()
        [size] = plain.execute("PRAGMA page_size").fetchone()
    # By another process: closing the file in this one would free the locks that SQLite holds.
    torn = f"f = open({str(path)!r}, 'r+b'); f.seek({(page - 1) * size}); f.write(b'\\xff' * {size})"
    subprocess.run([sys.executable, "-c", torn], check=True)
    assert stored_incarnation(path) is None
    assert state.append(event("b")) == 1
    assert state.history("u").item_ids == ("a", "b")


def test_a_log_of_another_file_is_not_applied(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "state"
    with SqliteState(old) as state:
        state.append(event("old"))
        # As a killed process leaves it.
        shutil.copyfile(f"{old}-wal", f"{new}-wal.kept")
    with SqliteState(new) as state:
        state.append(event("new"))
    before = new.read_bytes()
    Path(f"{new}-wal.kept").rename(f"{new}-wal")
    for create in (True, False):
        with pytest.raises(StateError, match="is the log of another file"):
            SqliteState(new, create=create)
    assert new.read_bytes() == before
    Path(f"{new}-wal").unlink()
    with SqliteState(new) as state:
        assert state.history("u").item_ids == ("new",)


def test_a_log_whose_file_is_gone_is_not_given_to_a_new_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    with SqliteState(old) as state:
        state.append(event("a"))
        shutil.copyfile(f"{old}-wal", f"{new}-wal")
    with pytest.raises(StateError, match="is left of a file that is gone"):
        SqliteState(new)
    assert not new.exists()


def test_the_log_of_a_killed_process_is_applied(tmp_path: Path) -> None:
    old, copy = tmp_path / "old", tmp_path / "copy"
    with SqliteState(old) as state:
        state.append(event("a"))
        for end in ("", "-wal"):
            shutil.copyfile(f"{old}{end}", f"{copy}{end}")
    with SqliteState(copy, create=False) as state:
        assert state.history("u").item_ids == ("a",)


def test_a_write_that_would_be_refused_is_never_dropped_in_silence(tmp_path: Path) -> None:
    """Only an id that is there already may be passed over."""
    with SqliteState(tmp_path / "s") as state:
        state.append(event("a"))
    with closing(sqlite3.connect(tmp_path / "s")) as connection, connection:
        connection.execute(
            "CREATE TRIGGER no_b BEFORE INSERT ON events WHEN NEW.item_id = 'b' BEGIN SELECT RAISE(ABORT, 'not b'); END"
        )
    with SqliteState(tmp_path / "s") as state, pytest.raises(StateError, match="not b"):
        state.append(event("b"))


@pytest.mark.parametrize(("stale", "refused"), [(1, False), (99, True)])
def test_a_log_whose_frame_is_just_being_written_is_looked_at_again(
    stale: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.sqlite"
    read = iter([b"a page of an earlier round"] * stale)
    monkeypatch.setattr(database, "_logged_page", lambda log, page: next(read, None))
    with SqliteState(path) as state:
        state.append([ViewerEvent("u", "i", "click")])
        with pytest.raises(StateError, match="the log of another file") if refused else nullcontext():
            database.check_log(path)
