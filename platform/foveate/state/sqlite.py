"""What viewers have done, in one SQLite file.

The row number of an event is its version: it only grows, so the history up to a version never changes, late arrivals
included.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from foveate.data.schema import ITEM_ID, KIND, OCCURRED_AT, USER_ID, VALUE
from foveate.grouped import in_parts
from foveate.messages import ViewerHistory
from foveate.state.base import KeptEvent, ViewerEvent, check_kinds, utc_micros
from foveate.state.database import Database
from foveate.state.event_table import event_rows
from foveate.state.history import history_of
from foveate.state.schema import EVENT_INDEXES

_INSERT = (
    "INSERT OR IGNORE INTO events"
    " (event_id, impression_id, user_id, item_id, kind, value, text, occurred_at, received_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERTED = ("event_id", "impression_id", USER_ID, ITEM_ID, KIND, VALUE, "text", OCCURRED_AT)
_KEEP = (
    "INSERT OR IGNORE INTO events"
    " (seq, event_id, impression_id, user_id, item_id, kind, value, text, occurred_at, received_at)"
    " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10"
    " WHERE NOT EXISTS (SELECT 1 FROM events WHERE user_id = ?4 AND seq > ?1)"
)
_PAGE = 5_000
"""Events of one transaction where many are read or written: those who serve wait for no more."""
_LATEST = (1 << 63) - 1


class SqliteState:
    """A :class:`~foveate.state.base.ViewerState` kept in one file that several processes may share.

    Parameters
    ----------
    path
        The file, made if it is absent and ``create`` is set.
    clock
        Gives ``received_at``, UTC microseconds.

    Raises
    ------
    StateError
        The file cannot be used.
    """

    def __init__(self, path: Path, *, create: bool = True, clock: Callable[[], int] = utc_micros) -> None:
        self._database = Database(path, create=create)
        self._clock = clock

    def __enter__(self) -> SqliteState:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def prepare(self) -> None:
        """Do nothing: a file was brought up to date when it was opened."""

    def history(self, user_id: str, version: int | None = None) -> ViewerHistory:
        """Return a viewer's events, oldest first; ``version`` reads them as they were then.

        An event with a time stands at its time; one without stands where it arrived.
        """
        rows = self._database.rows(
            "SELECT seq, item_id, kind, value, occurred_at FROM events WHERE user_id = ? AND seq <= ? ORDER BY seq",
            (user_id, _LATEST if version is None else version),
        )
        return history_of(user_id, rows)

    def histories(self, user_ids: Sequence[str]) -> list[ViewerHistory]:
        """Return several viewers' histories of now."""
        return [self.history(user_id) for user_id in user_ids]

    def append(self, events: Sequence[ViewerEvent]) -> int:
        """Add events, all or none; one whose ``event_id`` is already held is ignored. Returns how many were new.

        Raises
        ------
        RequestError
            A kind is not one of :data:`foveate.data.schema.EVENT_KINDS`.
        """
        check_kinds(events)
        now = self._clock()
        return self._insert([_row(event, now) for event in events])

    def import_events(self, events: pl.DataFrame | pl.LazyFrame, source: str = "") -> int:
        """Add a whole table of events, in the order of each viewer. Returns how many were new.

        Into an empty file all of them go in one transaction; into one that serves, in many.

        Parameters
        ----------
        events, source
            As :func:`foveate.state.event_table.event_rows` takes them.

        Raises
        ------
        SchemaError
            A needed column is missing.
        """
        frame = event_rows(events, source)
        rows = frame.select(*_INSERTED, pl.lit(self._clock()).alias("received_at")).iter_rows()
        with self._database.write() as connection:
            if connection.execute("SELECT 1 FROM events LIMIT 1").fetchone() is None:
                return _fill(connection, rows)
        return sum(self._insert(part) for part in in_parts(rows, _PAGE))

    def imports(self) -> dict[str, int]:
        """Return the logs that were imported, by their hashes, each with how many of its events were new."""
        return dict(self._database.rows("SELECT content_hash, events FROM imports"))

    def remember_import(self, content_hash: str, events: int) -> None:
        """Keep that a log was imported, with how many of its events were new; one that is known stays as it is."""
        with self._database.write() as connection:
            connection.execute("INSERT OR IGNORE INTO imports VALUES (?, ?, ?)", (content_hash, events, self._clock()))

    def forget(self, user_id: str) -> int:
        """Erase everything that a viewer did. Returns how many events that were."""
        return self._database.erase(["DELETE FROM events WHERE user_id = ?"], user_id)

    def users(self, limit: int) -> list[str]:
        """Return the ids of up to ``limit`` viewers, in the order of their ids."""
        rows = self._database.rows("SELECT DISTINCT user_id FROM events ORDER BY user_id LIMIT ?", (limit,))
        return [row[0] for row in rows]

    def version(self) -> int:
        """Return the newest version that was given, 0 before there is one."""
        # The table stands there as soon as one event was ever kept, and outlives it.
        rows = self._database.rows("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        return int(rows[0][0]) if rows else 0

    def holds(self, events: Sequence[KeptEvent]) -> int:
        """Return how many of these events are here, by viewer and id."""
        sql = "SELECT 1 FROM events WHERE user_id = ? AND event_id = ?"
        return sum(bool(self._database.rows(sql, (one.event.user_id, one.event.event_id))) for one in events)

    def kept(self) -> Iterator[Sequence[KeptEvent]]:
        """Yield every event, page by page, in the order of arrival."""
        sql = (
            "SELECT seq, received_at, user_id, item_id, kind, value, occurred_at, event_id, impression_id, text"
            " FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        )
        last = 0
        while rows := self._database.rows(sql, (last, _PAGE)):
            yield [KeptEvent(ViewerEvent(*event), seq, received_at) for seq, received_at, *event in rows]
            last = rows[-1][0]

    def keep(self, events: Sequence[KeptEvent]) -> int:
        """Add events of another store, all or none. Returns how many were new.

        An event keeps its version where nobody has it and it is above all that its viewer has, and else gets a new one.
        """
        check_kinds([one.event for one in events])
        rows = [(one.version, *_row(one.event, one.received_at)) for one in events]
        with self._database.write() as connection:
            before = connection.total_changes
            for row in rows:
                # What is not taken as it was is there already, or stands behind newer events.
                if not connection.execute(_KEEP, row).rowcount:
                    connection.execute(_INSERT, row[1:])
            return connection.total_changes - before

    def _insert(self, rows: Iterable[tuple[Any, ...]]) -> int:
        with self._database.write() as connection:
            before = connection.total_changes
            connection.executemany(_INSERT, rows)
            return connection.total_changes - before


def _fill(connection: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> int:
    """Insert into an empty table, where it is faster to build the indexes once, after the rows."""
    for name in EVENT_INDEXES:
        connection.execute(f"DROP INDEX {name}")
    before = connection.total_changes
    connection.executemany(_INSERT, rows)
    added = connection.total_changes - before
    for statement in EVENT_INDEXES.values():
        connection.execute(statement)
    return added


def _row(event: ViewerEvent, received_at: int) -> tuple[Any, ...]:
    return (
        event.event_id or uuid.uuid4().hex,
        event.impression_id,
        event.user_id,
        event.item_id,
        event.kind,
        event.value,
        event.text,
        event.occurred_at,
        received_at,
    )
