"""One SQLite file for what viewers did and were shown: its schema, its connections, and its errors.

WAL mode lets readers go on while one writer writes. Several processes may hold the file; a writer waits for its turn.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from foveate.errors import StateError

SCHEMA_VERSION: Final = 3
APPLICATION_ID: Final = 0x464F5645
"""Marks the file as ours: a database of another program is refused, never written to."""

WAIT_SECONDS: Final = 30.0
"""How long a writer waits for another one."""

EVENT_INDEXES: Final = {
    "events_by_id": "CREATE UNIQUE INDEX IF NOT EXISTS events_by_id ON events (event_id)",
    "events_by_user": "CREATE INDEX IF NOT EXISTS events_by_user ON events (user_id)",
}
"""The indexes of the events by name; a bulk import makes them last."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
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
) STRICT;
CREATE TABLE IF NOT EXISTS requests (
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
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS requests_by_user ON requests (user_id);
CREATE TABLE IF NOT EXISTS impressions (
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
) STRICT;
CREATE INDEX IF NOT EXISTS impressions_by_request ON impressions (request_id, position);
CREATE INDEX IF NOT EXISTS impressions_by_user ON impressions (user_id);
CREATE TABLE IF NOT EXISTS bundles (
    bundle_id TEXT PRIMARY KEY,
    path TEXT NOT NULL
) STRICT;
"""
_UPGRADES: Final = {
    1: "ALTER TABLE requests ADD COLUMN relevance_paid REAL",
    2: "ALTER TABLE requests ADD COLUMN degraded TEXT NOT NULL DEFAULT '[]'",
}
"""What makes a file of an older version one of the next."""

# AUTOINCREMENT: a rowid is never given twice, so an erased event cannot lend its version to a later one.


class Database:
    """A file of viewers' events and impressions, made if it is absent.

    Parameters
    ----------
    path
        The file; ``-wal`` and ``-shm`` files lie beside it while it is open.
    create
        Whether an absent file may be made.

    Raises
    ------
    StateError
        The file is absent and may not be made, is no SQLite file, is another program's, or is of another schema
        version.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        if not create and not path.is_file():
            remedy = "'foveate train' and 'foveate serve' make one; name another with --state"
            raise StateError(f"state '{path}': no such file; {remedy}")
        if not path.parent.is_dir():
            raise StateError(f"state '{path}': folder '{path.parent}' does not exist")
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        with self._translated():
            self._prepare()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._local = threading.local()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Read all rows of one query."""
        with self._translated():
            return self._connection().execute(sql, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection inside one write transaction: all of the block is kept, or nothing of it."""
        with self._translated():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def erase(self, statements: Sequence[str], user_id: str) -> int:
        """Delete rows of one viewer and wipe their bytes from the file and its log. Returns how many rows."""
        with self.write() as connection:
            deleted = sum(connection.execute(sql, (user_id,)).rowcount for sql in statements)
        with self._translated():
            self._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
            for pragma in ("synchronous=NORMAL", "secure_delete=ON", "cache_size=-65536", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {pragma}")
            self._local.connection = connection
            with self._lock:
                self._open.append(connection)
        return connection

    def _prepare(self) -> None:
        connection = self._connection()
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and owner != APPLICATION_ID:
            raise StateError(f"state '{self.path}' is the database of another program; name another file")
        if tables and found in _UPGRADES:
            found = self._upgrade(connection)
        if tables and found != SCHEMA_VERSION:
            versions = f"version {found}, this Foveate reads {SCHEMA_VERSION}"
            raise StateError(f"state '{self.path}' is of schema {versions}; name another file")
        if not tables:
            _enter_wal(connection)
            self._create(connection)

    def _upgrade(self, connection: sqlite3.Connection) -> int:
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have done it while this one waited for its turn.
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        while version in _UPGRADES:
            connection.execute(_UPGRADES[version])
            version += 1
        connection.execute(f"PRAGMA user_version={version}")
        connection.execute("COMMIT")
        return version

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for statement in [*filter(str.strip, _SCHEMA.split(";")), *EVENT_INDEXES.values()]:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(f"state '{self.path}' cannot be used: {error}") from error


def _enter_wal(connection: sqlite3.Connection) -> None:
    # The change of mode does not wait for a lock as other statements do, so several first openers must take turns.
    give_up = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)
