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
from foveate.state import schema

WAIT_SECONDS: Final = 30.0
"""How long a writer waits for another one."""


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
        found = schema.version_of(connection)
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and owner != schema.APPLICATION_ID:
            raise StateError(f"state '{self.path}' is the database of another program; name another file")
        if tables and schema.can_upgrade(found):
            with self.write() as upgraded:
                schema.upgrade(upgraded)
                found = schema.version_of(upgraded)
        if tables and found != schema.SCHEMA_VERSION:
            versions = f"version {found}, this Foveate reads {schema.SCHEMA_VERSION}"
            raise StateError(f"state '{self.path}' is of schema {versions}; name another file")
        if not tables:
            _enter_wal(connection)
            with self.write() as created:
                # Another process may have made the tables while this one waited for the lock.
                if not created.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    schema.create(created)

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
