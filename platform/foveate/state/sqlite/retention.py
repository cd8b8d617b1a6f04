"""Retention of a SQLite file: old events and impressions are dropped in steps short enough for writers.

What an export has not read yet stays, however old it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from foveate.core.errors import StateError
from foveate.state.sqlite.database import Database
from foveate.state.sqlite.exports import Reader, unread

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
