"""The tables of the SQLite file, and what makes a file of an older version one of the next."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np

from foveate.core.grouped import in_parts
from foveate.core.messages import SlateItem
from foveate.data.schema import EVENT_KINDS
from foveate.state.base import utc_micros
from foveate.state.record import pack_plain

_V4_REQUESTS: Final = 500
"""Requests read and written in one go."""
_V4_INSERT: Final = "INSERT INTO requests (request_id, user_id, kept_at, record) VALUES (?, ?, ?, ?)"


def compact(connection: sqlite3.Connection) -> None:
    """Write every request of ``old_requests`` and ``impressions`` as one record into ``requests``, oldest first.

    They count as kept now: for how long they are kept begins anew.
    """
    now = utc_micros()
    names = connection.execute(
        "SELECT request_id FROM old_requests ORDER BY json_extract(context, '$.now'), request_id DESC"
    ).fetchall()
    for part in in_parts(names, _V4_REQUESTS):
        connection.executemany(_V4_INSERT, [_v4_record(connection, name, now) for (name,) in part])


def _v4_record(connection: sqlite3.Connection, request_id: str, now: int) -> tuple[Any, ...]:
    cursor = connection.execute("SELECT * FROM old_requests WHERE request_id = ?", (request_id,))
    values = dict(zip((name for name, *_ in cursor.description), cursor.fetchone(), strict=True))
    request, context = (json.loads(values.pop(name)) for name in ("request", "context"))
    slate = values | {name: json.loads(values[name]) for name in ("relaxed", "degraded")}
    return request_id, slate["user_id"], now, pack_plain(request, context, slate, _v4_items(connection, request_id))


def _v4_items(connection: sqlite3.Connection, request_id: str) -> Sequence[SlateItem]:
    rows = connection.execute(
        "SELECT item_id, position, score, candidate_sources, features FROM impressions"
        " WHERE request_id = ? ORDER BY position",
        (request_id,),
    )
    return [
        SlateItem(
            item_id=item_id,
            position=position,
            score=float("nan") if score is None else score,
            sources=tuple(json.loads(sources)),
            features=np.frombuffer(features, dtype="<f4").astype(np.float32),
        )
        for item_id, position, score, sources, features in rows
    ]


SCHEMA_VERSION: Final = 7
APPLICATION_ID: Final = 0x464F5645
"""Marks the file as ours: a database of another program is refused, never written to."""
_INCREMENTAL: Final = 2
"""What SQLite calls ``auto_vacuum=INCREMENTAL``."""

EVENT_INDEXES: Final = {
    "events_by_id": "CREATE UNIQUE INDEX IF NOT EXISTS events_by_id ON events (user_id, event_id)",
    "events_by_user": "CREATE INDEX IF NOT EXISTS events_by_user ON events (user_id)",
}
"""The indexes of the events by name; a bulk import makes them last."""

# AUTOINCREMENT: a rowid is never given twice, so an erased event cannot lend its version to a later one.
_EVENTS: Final = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    impression_id TEXT,
    user_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    value REAL NOT NULL,
    text TEXT,
    occurred_at INTEGER,
    received_at INTEGER NOT NULL
) STRICT
"""
_REQUESTS: Final = """
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    kept_at INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT
"""
_REQUEST_INDEXES: Final = (
    "CREATE INDEX requests_by_user ON requests (user_id)",
    "CREATE INDEX requests_by_time ON requests (kept_at)",
)
_VIEWERS: Final = """
CREATE TABLE viewers (user_id TEXT PRIMARY KEY, dropped INTEGER NOT NULL) STRICT, WITHOUT ROWID
"""
# Of each viewer whose history grew too long, the newest version that was dropped.
_BUNDLES: Final = "CREATE TABLE bundles (bundle_id TEXT PRIMARY KEY, path TEXT NOT NULL) STRICT"
_IMPORTS: Final = """
CREATE TABLE imports (content_hash TEXT PRIMARY KEY, events INTEGER NOT NULL, imported_at INTEGER NOT NULL) STRICT
"""

_EXPORTS: Final = """
CREATE TABLE exports (
    name TEXT PRIMARY KEY,
    events INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0
) STRICT
"""
# How far each export has read: what lies beyond is not dropped, however old it is.
_ERASURES: Final = """
CREATE TABLE erasures (
    erasure_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    export TEXT NOT NULL,
    PRIMARY KEY (erasure_id, export)
) STRICT, WITHOUT ROWID
"""
# What exports have yet to follow.
_TOMBSTONES: Final = """
CREATE TABLE tombstones (viewer TEXT PRIMARY KEY, erased_at INTEGER NOT NULL) STRICT, WITHOUT ROWID
"""
# Keyed digests of erased viewers; see foveate.state.base.
_CERTIFICATES: Final = """
CREATE TABLE certificates (erasure_id TEXT PRIMARY KEY, content TEXT NOT NULL) STRICT, WITHOUT ROWID
"""
_SINCE_6: Final = (
    "ALTER TABLE events ADD COLUMN request_id TEXT",
    # Empty for an export that was registered without a place: nothing is to be erased there.
    "ALTER TABLE exports ADD COLUMN folder TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE exports ADD COLUMN key_file TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE store ADD COLUMN secret TEXT NOT NULL DEFAULT ''",
    "UPDATE store SET secret = lower(hex(randomblob(32)))",
    _ERASURES,
    _TOMBSTONES,
    _CERTIFICATES,
)
"""What version 6 brought; a new file is one of version 5 with it."""
_ITEMS: Final = """
CREATE TABLE items (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id TEXT NOT NULL UNIQUE,
    facts TEXT NOT NULL,
    withdrawn INTEGER NOT NULL,
    version INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT
"""
_SINCE_7: Final = (_ITEMS, "CREATE INDEX items_by_version ON items (version)")
"""What version 7 brought: the catalogue's changes."""
_STORE: Final = """
CREATE TABLE store (
    incarnation TEXT NOT NULL,
    writes INTEGER NOT NULL DEFAULT 0,
    wipe INTEGER NOT NULL DEFAULT 0
) STRICT
"""
# One row. Every transaction changes it, so that the log beside the file holds the incarnation too.
_NEW_INCARNATION: Final = "INSERT INTO store (incarnation) VALUES (lower(hex(randomblob(16))))"

TABLES: Final = (
    _STORE,
    _NEW_INCARNATION,
    _EVENTS,
    *EVENT_INDEXES.values(),
    _VIEWERS,
    _REQUESTS,
    *_REQUEST_INDEXES,
    _BUNDLES,
    _IMPORTS,
    _EXPORTS,
    *_SINCE_6,
    *_SINCE_7,
)
"""What makes an empty file one of ours."""

# Until version 3 an imported event was known by its row in its log, so two logs shared ids. Rows that one import wrote
# share a moment of arrival, and each of their ids tells its kind (or is of the simulator's form): those of clients do
# not. The ids become those that a new import of the same log gives (see foveate.state.sqlite.event_table).
_KIND_CODE: Final = "CASE kind " + " ".join(f"WHEN '{kind}' THEN {i}" for i, kind in enumerate(EVENT_KINDS)) + " END"
_IS_ROW_NUMBER: Final = (
    f"(event_id <> '' AND event_id NOT GLOB '*[^0-9]*' AND CAST(event_id AS INTEGER) % 10 = {_KIND_CODE}"
    " OR event_id GLOB 'e[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]*' AND substr(event_id, 2) NOT GLOB '*[^0-9]*')"
)
_RENAME_IMPORTED: Final = f"""
WITH imported AS (
    SELECT received_at FROM events GROUP BY received_at HAVING count(*) > 2 AND min({_IS_ROW_NUMBER}) = 1
), named AS (
    SELECT seq, 'log:' || {_KIND_CODE} || ':' || occurred_at || ':'
        || (row_number() OVER (PARTITION BY user_id, item_id, kind, occurred_at ORDER BY seq) - 1)
        || ':' || item_id AS event_id
    FROM events WHERE occurred_at IS NOT NULL AND received_at IN (SELECT received_at FROM imported)
)
UPDATE events SET event_id = named.event_id FROM named WHERE events.seq = named.seq
"""  # noqa: S608 - of constants alone

_UPGRADES: Final[Mapping[int, Sequence[str | Callable[[sqlite3.Connection], None]]]] = {
    1: ("ALTER TABLE requests ADD COLUMN relevance_paid REAL",),
    2: ("ALTER TABLE requests ADD COLUMN degraded TEXT NOT NULL DEFAULT '[]'",),
    3: (
        "DROP INDEX events_by_id",
        _RENAME_IMPORTED,
        EVENT_INDEXES["events_by_id"],
        _IMPORTS,
    ),
    4: (
        _STORE,
        _NEW_INCARNATION,
        _VIEWERS,
        _EXPORTS,
        "DROP INDEX requests_by_user",
        "ALTER TABLE requests RENAME TO old_requests",
        _REQUESTS,
        *_REQUEST_INDEXES,
        compact,
        "DROP TABLE impressions",
        "DROP TABLE old_requests",
    ),
    5: _SINCE_6,
    6: _SINCE_7,
}


def create(connection: sqlite3.Connection) -> None:
    """Make all tables in an empty file, in the transaction that is open."""
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def incarnation_of(connection: sqlite3.Connection) -> str:
    """Return the name that the content got when it was made."""
    return str(connection.execute("SELECT incarnation FROM store").fetchone()[0])


def renew_incarnation(connection: sqlite3.Connection) -> None:
    """Give a copy a name of its own, so that whoever has the original open does not take it for that."""
    connection.execute("UPDATE store SET incarnation = lower(hex(randomblob(16)))")


def make_room(connection: sqlite3.Connection) -> None:
    """Have a file of an older version give the room of what is dropped back to the disk, where it can be had now."""
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] == _INCREMENTAL:
        return
    # The disk may be too full for a second copy, or somebody reads: the file then keeps its free pages for itself.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("VACUUM")


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema's version that the file says it has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def can_upgrade(version: int) -> bool:
    """Whether a file of that version can become one of :data:`SCHEMA_VERSION`."""
    return version in _UPGRADES


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a file of an older version up to date, in the transaction that is open."""
    # Another process may have done it while this one waited for the lock.
    version = version_of(connection)
    while version in _UPGRADES:
        for step in _UPGRADES[version]:
            if isinstance(step, str):
                connection.execute(step)
            else:
                step(connection)
        version += 1
    connection.execute(f"PRAGMA user_version={version}")
