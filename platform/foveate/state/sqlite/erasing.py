"""Erasing a viewer from a SQLite file, in one transaction, and keeping out what comes of them too late."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from foveate.core.grouped import in_parts
from foveate.state.base import Erased, request_of, viewer_digest
from foveate.state.sqlite.database import Database

T = TypeVar("T")

_NAMED: Final = 500
_REMAINDER: Final = (
    "somebody reads from the file, so its log keeps the bytes: the next write after the reader's end wipes them, and so"
    " does erasing again"
)


def erase(database: Database, user_id: str, now: int) -> Erased:
    """Erase a viewer; see :meth:`foveate.state.base.ViewerStore.erase`."""
    erasure_id = uuid.uuid4().hex
    with database.write() as connection:
        first = connection.execute(
            "SELECT min(moment) FROM ("
            "SELECT coalesce(occurred_at, received_at) AS moment FROM events WHERE user_id = ?1"
            " UNION ALL SELECT kept_at FROM requests WHERE user_id = ?1)",
            (user_id,),
        ).fetchone()[0]
        sessions = _erase_sessions(connection, user_id)
        events, requests, _ = (
            connection.execute(f"DELETE FROM {table} WHERE user_id = ?", (user_id,)).rowcount  # noqa: S608 - of ours
            for table in ("events", "requests", "viewers")
        )
        connection.execute(
            "INSERT INTO erasures (erasure_id, user_id, export) SELECT ?, ?, name FROM exports WHERE folder <> ''",
            (erasure_id, user_id),
        )
        connection.execute(
            "INSERT OR REPLACE INTO tombstones (viewer, erased_at) VALUES (?, ?)",
            (viewer_digest(secret_of(connection), user_id), now),
        )
        connection.execute("UPDATE store SET wipe = 1")
    return Erased(erasure_id, events, requests + sessions, sessions, first)


def followed(database: Database, erasure_id: str, export: str) -> None:
    """Say that an export has followed an erasure: the viewer's id is needed for it no more."""
    with database.write() as connection:
        connection.execute("DELETE FROM erasures WHERE erasure_id = ? AND export = ?", (erasure_id, export))
        connection.execute("UPDATE store SET wipe = 1")


def wipe(database: Database) -> str:
    """Wipe what was erased from the log; see :meth:`foveate.state.base.ViewerStore.wipe`."""
    return "" if database.wipe() else _REMAINDER


def not_erased(
    connection: sqlite3.Connection, rows: Sequence[T], user: Callable[[T], str], is_late: Callable[[T, int], bool]
) -> Sequence[T]:
    """Leave out what came of viewers up to their erasure.

    Parameters
    ----------
    user
        Whose a row is.
    is_late
        Whether a row is of before an erasure at that moment, UTC microseconds.
    """
    if connection.execute("SELECT 1 FROM tombstones LIMIT 1").fetchone() is None:
        return rows
    secret, moments = secret_of(connection), {}
    for user_id in {user(row) for row in rows}:
        found = connection.execute(
            "SELECT erased_at FROM tombstones WHERE viewer = ?", (viewer_digest(secret, user_id),)
        ).fetchone()
        if found is not None:
            moments[user_id] = int(found[0])
    return [row for row in rows if user(row) not in moments or not is_late(row, moments[user(row)])]


def secret_of(connection: sqlite3.Connection) -> bytes:
    """Return the file's own secret."""
    return bytes.fromhex(connection.execute("SELECT secret FROM store").fetchone()[0])


def _erase_sessions(connection: sqlite3.Connection, user_id: str) -> int:
    """Erase the anonymous requests that a viewer's events name; returns how many those were."""
    named = connection.execute(
        "SELECT DISTINCT impression_id, request_id FROM events WHERE user_id = ?"
        " AND (impression_id IS NOT NULL OR request_id IS NOT NULL)",
        (user_id,),
    ).fetchall()
    requests = {request or request_of(impression) for impression, request in named} | {
        request_of(impression) for impression, _ in named if impression
    }
    erased = 0
    for part in in_parts(requests, _NAMED):
        marks = ", ".join("?" * len(part))
        erased += connection.execute(
            f"DELETE FROM requests WHERE user_id = '' AND request_id IN ({marks})",  # noqa: S608 - marks alone
            part,
        ).rowcount
    return erased
