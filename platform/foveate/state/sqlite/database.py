"""One SQLite file for what viewers did and were shown: its connections, its transactions, and its errors.

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

from foveate.core.errors import StateError
from foveate.state.sqlite import schema
from foveate.state.sqlite.config import FileConfig
from foveate.state.sqlite.identity import FileIdentity, check_log

WAIT_SECONDS: Final = 30.0
"""How long a writer that nobody waits for waits for another one."""
_WIPE_S: Final = 0.5
"""How long writers may be held up while erased bytes are wiped out of the log; readers may keep it for longer."""
_LOG_BYTES: Final = 64 << 20
"""What a log that has grown longer is cut back to."""


class Database:
    """A file of viewers' events and impressions.

    Parameters
    ----------
    path
        The file; ``-wal`` and ``-shm`` files lie beside it while it is open.
    create
        Whether an absent file may be made.
    lazy
        Whether a file that cannot be opened now may be opened by a later call; until then calls raise.
    config
        How the file is kept.

    Raises
    ------
    StateError
        The file is absent and may not be made, is no SQLite file, is another program's, or is of another schema
        version; not where it is ``lazy``.
    """

    def __init__(
        self, path: Path, *, create: bool = True, lazy: bool = False, config: FileConfig | None = None
    ) -> None:
        self.path = path
        self.config = config or FileConfig()
        self._create = create
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._open_lock = threading.Lock()
        self._file: FileIdentity | None = None
        try:
            self.check()
        except StateError:
            if not lazy:
                raise

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

    def check(self) -> None:
        """See that the file is open, and that its path names it still.

        Raises
        ------
        StateError
            It is not.
        """
        file = self._file or self._opened()
        file.check()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Read all rows of one query."""
        self.check()
        with self.translated():
            return self.connection().execute(sql, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection inside one write transaction: all of the block is kept, or nothing of it."""
        self.check()
        with self.translated():
            connection = self.connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                self.commit(connection)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def commit(self, connection: sqlite3.Connection) -> None:
        """End a write transaction, in the file that was opened and in no other.

        Raises
        ------
        StateError
            The path names another file, or none: before the end of the transaction nothing is kept; after it nobody
            can say whether what was kept is ever found.
        """
        # The log then names the content that it belongs to.
        connection.execute("UPDATE store SET writes = writes + 1")
        self.check()
        connection.execute("COMMIT")
        self.check()

    def wipe(self) -> bool:
        """Wipe what was erased from the log, unless readers keep it; returns whether nothing is left to wipe.

        While readers keep the log, the bytes stay in it; later writes wipe them then.
        """
        with self.translated():
            connection = self.connection()
            if not connection.execute("SELECT wipe FROM store").fetchone()[0]:
                return True
            # The log cannot be cut back while somebody reads from it, and writers wait meanwhile.
            connection.execute(f"PRAGMA busy_timeout={round(_WIPE_S * 1000)}")
            try:
                busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                connection.execute(f"PRAGMA busy_timeout={round(WAIT_SECONDS * 1000)}")
            if not busy:
                with self.write() as done:
                    done.execute("UPDATE store SET wipe = 0")
            return not busy

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._connect("rw")
        return found

    def _connect(self, mode: str) -> sqlite3.Connection:
        # By a URI, so that a file that is gone is not made anew.
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        for pragma in (
            f"synchronous={self.config.synchronous.upper()}",
            "secure_delete=ON",
            "cache_size=-65536",
            "temp_store=MEMORY",
            f"journal_size_limit={_LOG_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        with self._lock:
            self._open.append(connection)
        return connection

    def _opened(self) -> FileIdentity:
        with self._open_lock:
            if self._file is None:
                self._file = self._open_file()
            return self._file

    def _open_file(self) -> FileIdentity:
        if not self._create and not self.path.is_file():
            remedy = "'foveate train' and 'foveate serve' make one; name another with --state"
            raise StateError(f"state '{self.path}': no such file; {remedy}")
        if not self.path.parent.is_dir():
            raise StateError(f"state '{self.path}': folder '{self.path.parent}' does not exist")
        check_log(self.path)
        with self.translated():
            connection = self._local.connection = self._connect("rwc" if self._create else "rw")
            try:
                self._prepare(connection)
                opened = FileIdentity(self.path)
                opened.hold(schema.incarnation_of(connection))
                opened.check()
            except BaseException:
                # It may be tried again and again.
                self.close()
                raise
        return opened

    def _prepare(self, connection: sqlite3.Connection) -> None:
        found = schema.version_of(connection)
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and owner != schema.APPLICATION_ID:
            raise StateError(f"state '{self.path}' is the database of another program; name another file")
        if tables and found != schema.SCHEMA_VERSION and not schema.can_upgrade(found):
            versions = f"version {found}, this Foveate reads {schema.SCHEMA_VERSION}"
            raise StateError(f"state '{self.path}' is of schema {versions}; name another file")
        if tables and found == schema.SCHEMA_VERSION:
            return
        if not tables and not self._create:
            raise StateError(f"state '{self.path}' is empty: restore a backup into it")
        if not tables:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            _enter_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have done it while this one waited for the lock.
            if schema.version_of(connection) == 0:
                schema.create(connection)
            else:
                schema.upgrade(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if tables:
            schema.make_room(connection)
        # The file itself names its content from the start: the log beside it can be told from another's.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Tell of SQLite's errors as Foveate's."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.unusable(error) from error

    def unusable(self, error: sqlite3.Error) -> StateError:
        """Return SQLite's error as Foveate's."""
        return StateError(f"state '{self.path}' cannot be used: {error}")


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
