"""Writes to the SQLite file's table of events, inside an open transaction."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from foveate.data.schema import ITEM_ID, KIND, OCCURRED_AT, USER_ID, VALUE
from foveate.state.base import KeptEvent, ViewerEvent
from foveate.state.sqlite.erasing import not_erased
from foveate.state.sqlite.exports import unread
from foveate.state.sqlite.schema import EVENT_INDEXES

INSERTED: Final = ("event_id", "impression_id", USER_ID, ITEM_ID, KIND, VALUE, "text", OCCURRED_AT, "request_id")
"""The first columns of a row, in their order; the last one is ``received_at``."""
Row: TypeAlias = tuple[Any, ...]

_STEP: Final = 100
_USER: Final = INSERTED.index(USER_ID)
_TIME: Final = INSERTED.index(OCCURRED_AT)
_INSERT = (
    "INSERT INTO events"
    " (event_id, impression_id, user_id, item_id, kind, value, text, occurred_at, request_id, received_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, event_id) DO NOTHING"
)
_KEEP = (
    "INSERT INTO events"
    " (seq, event_id, impression_id, user_id, item_id, kind, value, text, occurred_at, request_id, received_at)"
    " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11"
    # An export reads what lies above its cursor: what comes now is to be found there.
    " WHERE ?1 > (SELECT coalesce(max(events), 0) FROM exports)"
    " AND NOT EXISTS (SELECT 1 FROM events WHERE seq = ?1 OR user_id = ?4 AND (seq > ?1 OR event_id = ?2))"
)
_BEYOND = "SELECT seq FROM events WHERE user_id = ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
_LONG = "SELECT user_id FROM events GROUP BY user_id HAVING count(*) > ?"
_LAST = "SELECT max(seq) FROM (SELECT seq FROM events WHERE user_id = ? AND seq <= ? ORDER BY seq LIMIT ?)"
_TRIM = "DELETE FROM events WHERE user_id = ? AND seq <= ?"
_OLDEST = "SELECT seq, user_id, received_at FROM events WHERE seq <= ? ORDER BY seq LIMIT ?"
_GONE = "DELETE FROM viewers WHERE user_id = ?1 AND NOT EXISTS (SELECT 1 FROM events WHERE user_id = ?1)"
_FIRST = (
    "SELECT occurred_at FROM events WHERE user_id = ?1 AND EXISTS (SELECT 1 FROM viewers WHERE user_id = ?1)"
    " ORDER BY seq LIMIT 1"
)
_DROPPED = (
    "INSERT INTO viewers (user_id, dropped) VALUES (?, ?)"
    " ON CONFLICT (user_id) DO UPDATE SET dropped = max(dropped, excluded.dropped)"
)


def insert(connection: sqlite3.Connection, rows: Sequence[Row], most: int) -> int:
    """Add rows that are new to their viewers, who keep about ``most`` events; returns how many were new.

    A history that was much longer, in a file of an older Foveate, is cut step by step: nobody waits for all of it.
    """
    rows = not_erased(connection, rows, _user_of, lambda row, erased_at: row[-1] <= erased_at)
    # Of an empty list SQLite counts no row, and says -1.
    added = connection.executemany(_INSERT, rows).rowcount if rows else 0
    trim(connection, {row[_USER] for row in rows}, most, len(rows) + _STEP)
    return added


def fill(connection: sqlite3.Connection, rows: Iterable[Row], most: int) -> int:
    """Insert rows, all new, into an empty table; returns how many viewers keep of them.

    It is faster to build the indexes once, after the rows.
    """
    for name in EVENT_INDEXES:
        connection.execute(f"DROP INDEX {name}")
    added = connection.executemany(_INSERT.partition(" ON CONFLICT")[0], rows).rowcount
    for statement in EVENT_INDEXES.values():
        connection.execute(statement)
    long = connection.execute(_LONG, (most,)).fetchall()
    return added - trim(connection, [user_id for (user_id,) in long], most)


def keep(connection: sqlite3.Connection, events: Sequence[KeptEvent], most: int) -> int:
    """Add events of another store, whose versions stay where they can; returns how many were new."""
    added = 0
    events = not_erased(connection, events, lambda one: one.event.user_id, lambda one, at: one.received_at <= at)
    for one in events:
        row = row_of(one.event, one.received_at)
        # What is not taken as it was is there already, or stands behind newer events.
        added += connection.execute(_KEEP, (one.version, *row)).rowcount or connection.execute(_INSERT, row).rowcount
    trim(connection, {one.event.user_id for one in events}, most)
    return added


def not_dropped(connection: sqlite3.Connection, rows: Sequence[Row]) -> list[Row]:
    """Leave out what is of before a viewer's erasure, or older than what was dropped of its viewer.

    That was here before, or would be dropped at once.
    """
    # A log tells of what was done before an erasure, whenever it arrives.
    rows = not_erased(connection, rows, _user_of, lambda row, erased_at: (row[_TIME] or 0) <= erased_at)
    first: dict[str, int | None] = {}
    for user_id in {row[_USER] for row in rows}:
        first.update((user_id, time) for (time,) in connection.execute(_FIRST, (user_id,)))
    return [row for row in rows if not _is_older(row[_TIME], first.get(row[_USER]))]


def trim(connection: sqlite3.Connection, user_ids: Iterable[str], most: int, at_once: int = -1) -> int:
    """Drop what viewers have beyond ``most`` events, unless an export has not read it; returns how many events.

    Parameters
    ----------
    at_once
        How many events of a viewer may be dropped now, the oldest; -1 for all.
    """
    read, dropped = unread(connection, "events"), 0
    for user_id in user_ids:
        beyond = connection.execute(_BEYOND, (user_id, most)).fetchone()
        if beyond is None:
            continue
        last = connection.execute(_LAST, (user_id, min(beyond[0], read), at_once)).fetchone()[0]
        if last is not None:
            dropped += connection.execute(_TRIM, (user_id, last)).rowcount
            connection.execute(_DROPPED, (user_id, last))
    return dropped


def drop_old(connection: sqlite3.Connection, before: int, read: int, most: int) -> int:
    """Drop events that arrived before a moment; see :class:`foveate.state.sqlite.retention.Retention`."""
    rows = connection.execute(_OLDEST, (read, most)).fetchall()
    old = [(user_id, seq) for seq, user_id, received_at in rows if received_at < before]
    connection.executemany("DELETE FROM events WHERE seq = ?", [(seq,) for _, seq in old])
    connection.executemany(_DROPPED, old)
    # Of a viewer who has no events left nothing is left at all.
    connection.executemany(_GONE, [(user_id,) for user_id in {user_id for user_id, _ in old}])
    return len(old)


def row_of(event: ViewerEvent, received_at: int) -> Row:
    """Return the row of an event, with an id of its own where it has none."""
    return (
        event.event_id or uuid.uuid4().hex,
        event.impression_id,
        event.user_id,
        event.item_id,
        event.kind,
        event.value,
        event.text,
        event.occurred_at,
        event.request_id,
        received_at,
    )


def _user_of(row: Row) -> str:
    return str(row[_USER])


def _is_older(time: int | None, first: int | None) -> bool:
    return time is not None and first is not None and time < first
