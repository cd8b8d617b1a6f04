"""Backups of a store as one SQLite file, made and put back while the store serves."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from foveate.core.errors import StateError
from foveate.state.connect import StatePlace, file_of, without_limits
from foveate.state.copying import Copied, copy_state
from foveate.state.sqlite import schema
from foveate.state.sqlite.store import SqliteState
from foveate.storage.files import check_free, sync_folder

Progress = Callable[[Copied], None]


def backup_state(source: StatePlace, target: Path, *, progress: Progress | None = None) -> Copied:
    """Write all of a store into a new file; the store may serve meanwhile.

    A file is copied by SQLite's own backup, page by page as of one moment; a server event by event.

    Parameters
    ----------
    source
        The store.
    target
        The file to make; it is there only when it is whole, checked and on the disk.
    progress
        As :func:`foveate.state.copying.copy_state` has it.

    Returns
    -------
    Copied
        What the backup holds.

    Raises
    ------
    OutputExistsError
        ``target`` exists.
    StateError
        The store cannot be used, or the backup does not hold all of it.
    """
    check_free(target)
    with _staged(target) as staged:
        file = file_of(source)
        if file is None:
            copied = copy_state(source, without_limits(staged), progress=progress)
            if not copied.whole:
                lost = f"{copied.missing_events:,} events and {copied.missing_requests:,} served requests"
                raise StateError(f"the backup of '{source}' lacks {lost}: make it again")
            return copied
        _copy_pages(file, staged)
        _rename_content(staged)
        return _counts(staged)


def restore_state(source: Path, target: StatePlace, *, progress: Progress | None = None) -> Copied:
    """Put a backup back: an absent file is made as the backup has it, and a store that is there gets what it lacks.

    What the store holds already stays, so that what viewers did since the backup is kept. The backup is not written to,
    not even where an older Foveate made it.

    Raises
    ------
    StateError
        The backup is absent or damaged, or the store cannot be used.
    """
    if not source.is_file():
        raise StateError(f"backup '{source}': no such file")
    file = file_of(target)
    if file is not None and not file.exists():
        if not file.parent.is_dir():
            raise StateError(f"state '{file}': folder '{file.parent}' does not exist")
        log = file.with_name(f"{file.name}-wal")
        if log.exists():
            raise StateError(f"'{log}' is left of a file that is gone, and would be read as this one's: move it away")
        with _staged(file) as staged:
            _copy_pages(source, staged)
            # An older version is brought up to date before anyone serves from it.
            SqliteState(staged).close()
            _rename_content(staged)
            return _counts(staged)
    with tempfile.TemporaryDirectory(prefix="foveate-restore.") as scratch:
        copy = Path(scratch) / "backup.sqlite"
        _copy_pages(source, copy)
        return copy_state(without_limits(copy), target, progress=progress)


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """Yield a path whose file, closed and checked, becomes ``target`` when the block ends well."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
            staged = Path(scratch) / "state.sqlite"
            yield staged
            _check(staged)
            with staged.open("rb") as stream:
                os.fsync(stream.fileno())
            check_free(target)
            staged.rename(target)
            sync_folder(target.parent)
    except OSError as error:
        raise StateError(f"'{target}' cannot be written: {error.strerror}") from error


def _copy_pages(source: Path, target: Path) -> None:
    if not source.is_file():
        raise StateError(f"state '{source}': no such file")
    try:
        # The URI keeps SQLite from making a file that vanished meanwhile.
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=rw", uri=True)) as original,
            closing(sqlite3.connect(target)) as copy,
        ):
            original.backup(copy)
    except sqlite3.Error as error:
        raise StateError(f"state '{source}' cannot be copied: {error}") from error


def _rename_content(file: Path) -> None:
    """Let whoever has the original open tell the copy from it."""
    try:
        with closing(sqlite3.connect(file)) as connection, connection:
            if schema.version_of(connection) == schema.SCHEMA_VERSION:
                schema.renew_incarnation(connection)
    except sqlite3.Error as error:
        raise StateError(f"the copy is damaged, and so is what it was made of: {error}") from error


def _check(file: Path) -> None:
    try:
        with closing(sqlite3.connect(file)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        found = error
    if found != "ok":
        raise StateError(f"the copy is damaged, and so is what it was made of: {found}")


def _counts(file: Path) -> Copied:
    with closing(sqlite3.connect(file)) as connection:
        events, requests = (
            int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - of ours
            for table in ("events", "requests")
        )
    return Copied(events=events, new_events=events, requests=requests)
