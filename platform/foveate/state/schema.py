"""The tables of the SQLite file, and what makes a file of an older version one of the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from foveate.data.schema import EVENT_KINDS

SCHEMA_VERSION: Final = 4
APPLICATION_ID: Final = 0x464F5645
"""Marks the file as ours: a database of another program is refused, never written to."""

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
    request_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    bundle_id TEXT NOT NULL,
    policy_id TEXT NOT NULL,
    feature_schema TEXT NOT NULL,
    state_version INTEGER NOT NULL,
    request TEXT NOT NULL,
    context TEXT NOT NULL,
    relaxed TEXT NOT NULL,
    relevance_paid REAL,
    degraded TEXT NOT NULL DEFAULT '[]'
) STRICT, WITHOUT ROWID
"""
_IMPRESSIONS: Final = """
CREATE TABLE impressions (
    impression_id TEXT PRIMARY KEY,
    request_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    surface TEXT NOT NULL,
    shown_at INTEGER NOT NULL,
    bundle_id TEXT NOT NULL,
    policy_id TEXT NOT NULL,
    propensity REAL,
    feature_schema TEXT NOT NULL,
    features BLOB NOT NULL,
    candidate_sources TEXT NOT NULL,
    score REAL
) STRICT
"""
_BUNDLES: Final = "CREATE TABLE bundles (bundle_id TEXT PRIMARY KEY, path TEXT NOT NULL) STRICT"
_IMPORTS: Final = """
CREATE TABLE imports (content_hash TEXT PRIMARY KEY, events INTEGER NOT NULL, imported_at INTEGER NOT NULL) STRICT
"""

TABLES: Final = (
    _EVENTS,
    _REQUESTS,
    "CREATE INDEX requests_by_user ON requests (user_id)",
    _IMPRESSIONS,
    "CREATE INDEX impressions_by_request ON impressions (request_id, position)",
    "CREATE INDEX impressions_by_user ON impressions (user_id)",
    _BUNDLES,
    _IMPORTS,
    *EVENT_INDEXES.values(),
)
"""What makes an empty file one of ours."""

# Until version 3 an imported event was known by its row in its log, so two logs shared ids. Rows that one import wrote
# share a moment of arrival, and each of their ids tells its kind (or is of the simulator's form): those of clients do
# not. The ids become those that a new import of the same log gives (see foveate.state.event_table).
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

_UPGRADES: Final[Mapping[int, Sequence[str]]] = {
    1: ("ALTER TABLE requests ADD COLUMN relevance_paid REAL",),
    2: ("ALTER TABLE requests ADD COLUMN degraded TEXT NOT NULL DEFAULT '[]'",),
    3: (
        "DROP INDEX events_by_id",
        _RENAME_IMPORTED,
        EVENT_INDEXES["events_by_id"],
        _IMPORTS,
    ),
}


def create(connection: sqlite3.Connection) -> None:
    """Make all tables in an empty file, in the transaction that is open."""
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


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
        for statement in _UPGRADES[version]:
            connection.execute(statement)
        version += 1
    connection.execute(f"PRAGMA user_version={version}")
