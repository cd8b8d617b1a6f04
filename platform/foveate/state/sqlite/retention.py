"""Retention of a SQLite file: old events and impressions are dropped in steps short enough for writers.

What an export has not read yet stays, however old it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final, Literal

from foveate.core.errors import NotFoundError, StateError
from foveate.state.base import Export
from foveate.state.sqlite.database import Database

Reader = Literal["events", "requests"]

_ABOVE_ALL: Final = 1 << 62


def unread(connection: sqlite3.Connection, reader: Reader) -> int:
    """Return the newest row that every export has read; where there is none, a number above all rows."""
    read = connection.execute(f"SELECT min({reader}) FROM exports").fetchone()[0]  # noqa: S608 - one of two names
    return _ABOVE_ALL if read is None else int(read)


def move_export(database: Database, name: str, reader: Reader, row: int) -> None:
    """Say that an export has read all rows up to this one; a new name stands at its beginning in the other table."""
    with database.write() as connection:
        connection.execute("INSERT OR IGNORE INTO exports (name) VALUES (?)", (name,))
        connection.execute(f"UPDATE exports SET {reader} = max({reader}, ?) WHERE name = ?", (row, name))  # noqa: S608


def register_export(database: Database, export: Export) -> None:
    """Keep where an export lies; a new one has read nothing yet."""
    sql = (
        "INSERT INTO exports (name, folder, key_file) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET folder = excluded.folder, key_file = excluded.key_file"
    )
    with database.write() as connection:
        connection.execute(sql, (export.name, export.folder, export.key_file))


def exports(database: Database) -> list[Export]:
    """Return the exports, by name."""
    return [Export(*row) for row in database.rows("SELECT name, folder, key_file FROM exports ORDER BY name")]


def drop_export(database: Database, name: str) -> None:
    """Forget an export; raises NotFoundError where there is none of that name."""
    with database.write() as connection:
        if not connection.execute("DELETE FROM exports WHERE name = ?", (name,)).rowcount:
            raise NotFoundError(f"'{database.path}' knows no export '{name}'")
        connection.execute("DELETE FROM erasures WHERE export = ?", (name,))
        connection.execute("UPDATE store SET wipe = 1")
    database.wipe()


_DAY: Final = 86_400_000_000
_ROWS: Final = 1_000
"""Most rows that are dropped after one transaction: more than it can have added."""
_ROUNDS: Final = 20
"""Rounds in the time for which rows are kept: so much more than what is kept may lie in the file."""
_LONGEST_US: Final = 60_000_000
"""Microseconds between two rounds, at most."""
_PAGES: Final = 2_000
"""Pages given back to the disk in one step."""
_SPARE: Final = 10
"""One page in so many may be free: what is written next takes it."""


class Retention:
    """Drops what is older than it may be, now and then.

    Parameters
    ----------
    database
        The file.
    days
        Days for which rows are kept; 0 keeps them for ever.
    drop
        Drops up to so many rows that are older than a moment (UTC microseconds) and not above a row number; returns how
        many it dropped.
    reader
        Which cursor of the exports says what may be dropped.
    clock
        UTC microseconds.
    """

    def __init__(
        self,
        database: Database,
        days: float,
        drop: Callable[[sqlite3.Connection, int, int, int], int],
        reader: Reader,
        clock: Callable[[], int],
    ) -> None:
        self._database = database
        self._kept_us = round(days * _DAY)
        self._drop = drop
        self._reader: Reader = reader
        self._clock = clock
        self._every_us = min(_LONGEST_US, self._kept_us // _ROUNDS or _LONGEST_US)
        self._last: int | None = None

    def run(self) -> None:
        """Drop what is too old, if it is time to; what is left is dropped after the next transaction."""
        now = self._clock()
        # A clock that was set back does not stop it.
        if self._last is not None and 0 <= now - self._last < self._every_us:
            return
        try:
            whole = not self._kept_us or self._dropped(now - self._kept_us)
            self._database.wipe()
            self._give_back()
        except StateError:
            # Somebody else writes: it is done after another transaction.
            return
        self._last = now if whole else None

    def _dropped(self, before: int) -> bool:
        """Drop one step, as those who write wait meanwhile; returns whether nothing is left to drop."""
        with self._database.write() as connection:
            return self._drop(connection, before, unread(connection, self._reader), _ROWS) < _ROWS

    def _give_back(self) -> None:
        with self._database.translated():
            connection = self._database.connection()
            free, pages = (
                int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("freelist_count", "page_count")
            )
            if free > pages // _SPARE:
                # Each step frees one page; Connection.execute would take a single one.
                connection.executescript(f"PRAGMA incremental_vacuum({min(free - pages // _SPARE, _PAGES)})")
