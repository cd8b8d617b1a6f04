"""One SQLite file for what viewers did and were shown: its connections, its transactions, and its errors.

WAL mode lets readers go on while one writer writes. Several processes may hold the file; a writer waits for its turn.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from foveate.core.errors import StateError
from foveate.state.sqlite import schema
from foveate.state.sqlite.config import FileConfig

_TRIES: Final = 3
_WAL_HEADER: Final = struct.Struct(">IIIIIIII")
_FRAME_HEADER: Final = struct.Struct(">IIIIII")


class FileIdentity:
    """The file that was opened, to be compared with what lies at its path now.

    Parameters
    ----------
    path
        The file, which is there.

    Raises
    ------
    StateError
        The file is gone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        found = self._stat()
        self._file = found.st_dev, found.st_ino
        self._seen = found.st_mtime_ns, found.st_size
        self._incarnation: str | None = None

    def hold(self, incarnation: str) -> None:
        """Take what the open connection reads for the file's own content from now on."""
        self._incarnation = incarnation

    def check(self) -> None:
        """See that the path still names the file that was opened, with its own content.

        Raises
        ------
        StateError
            The file is gone, is another one, or was written over.
        """
        found = self._stat()
        if (found.st_dev, found.st_ino) != self._file:
            remedy = "put the first one back, or start the servers again"
            raise StateError(f"state '{self._path}' is another file than the one that was opened: {remedy}")
        # The content can only be another one where the file has changed; our own checkpoints change it, too.
        if (found.st_mtime_ns, found.st_size) != self._seen and self._incarnation is not None:
            stored = stored_incarnation(self._path)
            if stored is None:
                # It cannot be told now: it is looked at again until it can.
                return
            if stored != self._incarnation:
                remedy = "put its own content back, or start the servers again"
                raise StateError(f"state '{self._path}' was written over with that of another store: {remedy}")
            self._seen = found.st_mtime_ns, found.st_size

    def _stat(self) -> os.stat_result:
        try:
            return os.stat(self._path)  # noqa: PTH116 - at every read and write: Path's own costs twice the time
        except OSError as error:
            remedy = "put it back, or restore a backup and start the servers again"
            raise StateError(f"state '{self._path}' is gone ({error.strerror}): {remedy}") from error


def stored_incarnation(path: Path) -> str | None:
    """Return the incarnation in the file itself, whatever its log says; None where it has none, or none to be read.

    Raises
    ------
    StateError
        The file cannot be read.
    """
    found = _stored(path)
    return found[0] if found else None


def check_log(path: Path) -> None:
    """See that the log beside a file, if there is one, is the file's own: SQLite would apply another's without a word.

    Raises
    ------
    StateError
        It is another file's, or the file cannot be read.
    """
    log = path.with_name(f"{path.name}-wal")
    try:
        if log.stat().st_size <= _WAL_HEADER.size:
            return
    except FileNotFoundError:
        return
    if not path.exists():
        raise StateError(f"'{log}' is left of a file that is gone: put that file back, or move the log away")
    for left in reversed(range(_TRIES)):
        found = _stored(path)
        # None: of an older version, or made just now.
        if found is None or _is_logged(log, *found):
            return
        if left:
            # A frame that is being written has its header before its page: then the page is of an earlier round.
            time.sleep(0.005)
    raise StateError(f"'{log}' is the log of another file than '{path}': move it away")


def _is_logged(log: Path, incarnation: str, page: int) -> bool:
    """Whether a log agrees with an incarnation, or does not hold its page."""
    try:
        content = _logged_page(log, page)
    except FileNotFoundError:
        return True
    return content is None or incarnation.encode() in content


def _stored(path: Path) -> tuple[str, int] | None:
    """Return the incarnation in the file itself, and the number of the page that holds it."""
    for left in reversed(range(_TRIES)):
        try:
            # Immutable: without the log and without locks.
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)) as connection:
                root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'store'").fetchone()
                row = connection.execute("SELECT incarnation FROM store").fetchone() if root else None
                return (str(row[0]), int(root[0])) if row else None
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CORRUPT:
                # Without its log it is no whole file while the log is written into it, or where the disk was full then.
                return None
            # Another process may be writing the log into the file just now.
            if not left:
                raise StateError(f"state '{path}' cannot be used: {error}") from error
            time.sleep(0.005)
    return None


def _logged_page(log: Path, page: int) -> bytes | None:
    """Return a page as the log last has it, None where it does not: https://www.sqlite.org/fileformat2.html#walformat.

    What stood there before may have been a page of another table: one of an older version, before an upgrade.
    """
    found = None
    with log.open("rb") as stream:
        header = stream.read(_WAL_HEADER.size)
        if len(header) < _WAL_HEADER.size:
            return None
        _, _, size, _, *salts, _, _ = _WAL_HEADER.unpack(header)
        while len(frame := stream.read(_FRAME_HEADER.size)) == _FRAME_HEADER.size:
            number, _, *own, _, _ = _FRAME_HEADER.unpack(frame)
            if own != salts:
                # What follows is left of an earlier round of the log.
                break
            if number == page:
                found = stream.read(size)
            else:
                stream.seek(size, os.SEEK_CUR)
    return found


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
