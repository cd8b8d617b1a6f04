"""Writes of many threads in one transaction: the disk is waited for once, not once a write.

One thread writes. It first gets the file's lock, and only then takes the writes that wait; so a write whose time is up
while another process holds the lock was never begun, and is refused for certain. A write that was taken is waited for.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from foveate.core.errors import StateError
from foveate.state.sqlite.database import Database

T = TypeVar("T")

MOST: Final = 256
"""Writes of one transaction."""
_LOCK_MS: Final = 100
"""Milliseconds for which the file's lock is asked before it is seen whether anyone still waits for it."""


@dataclass(eq=False)
class _Write(Generic[T]):
    """One write, from the moment that it is asked for."""

    work: Callable[[sqlite3.Connection], T]
    done: threading.Event = field(default_factory=threading.Event)
    answer: T | None = None
    error: Exception | None = None


class GroupCommit:
    """The writer of one file in this process; its thread starts with the first write.

    Parameters
    ----------
    database
        The file.
    after
        Called in the writer's thread after every transaction, for what is to be tidied up now and then.
    most
        Writes that may share a transaction.
    """

    def __init__(self, database: Database, after: Callable[[], None], most: int = MOST) -> None:
        self._database = database
        self._after = after
        self._most = most
        self._timeout_s = database.config.write_timeout_s
        self._waiting: list[_Write[Any]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do work in a transaction that others may share; return its answer once the transaction is kept.

        Parameters
        ----------
        work
            Given the connection; what it raises undoes what it did, and nothing else.

        Raises
        ------
        StateError
            The file cannot be used, or was not free in time; the message says where it is not known whether the work
            was kept.
        """
        write = _Write(work)
        with self._changed:
            if self._closed:
                raise StateError(f"state '{self._database.path}' is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="state-writer", daemon=True)
                self._thread.start()
            self._waiting.append(write)
            self._changed.notify_all()
        if not write.done.wait(self._timeout_s):
            self._give_up(write)
        if isinstance(write.error, sqlite3.Error):
            raise self._database.unusable(write.error) from write.error
        if write.error is not None:
            raise write.error
        return write.answer  # type: ignore[return-value] # there is an answer where there is no error

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _give_up(self, write: _Write[Any]) -> None:
        """Take a write back that was not begun, or wait once more for one that was."""
        where = f"state '{self._database.path}'"
        with self._changed:
            if write in self._waiting:
                self._waiting.remove(write)
                raise StateError(f"{where} was not free for {self._timeout_s:g} seconds: nothing was kept, try again")
        if not write.done.wait(self._timeout_s):
            raise StateError(
                f"{where} does not say whether it was kept (the disk takes more than {self._timeout_s:g} seconds): "
                "try again with the same event ids"
            )

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
            try:
                self._commit()
            except Exception as error:
                self._refuse(error)

    def _commit(self) -> None:
        database = self._database
        database.check()
        with database.translated():
            connection = database.connection()
            if not _locked(connection):
                return
            writes: list[_Write[Any]] = []
            try:
                with self._changed:
                    writes, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                for write in writes:
                    _try(connection, write)
                if writes:
                    database.commit(connection)
                else:
                    # All have given up meanwhile.
                    connection.execute("ROLLBACK")
            except (sqlite3.Error, StateError) as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                _fail(writes, error)
            finally:
                for write in writes:
                    write.done.set()
        if writes:
            self._after()

    def _refuse(self, error: Exception) -> None:
        """Fail all that wait, for what kept a transaction from beginning."""
        with self._changed:
            refused, self._waiting = self._waiting, []
        _fail(refused, error)
        for write in refused:
            write.done.set()


def _locked(connection: sqlite3.Connection) -> bool:
    """Begin a write transaction, unless another process writes."""
    connection.execute(f"PRAGMA busy_timeout={_LOCK_MS}")
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            # The wait may have been cut short: do not ask in a busy loop.
            time.sleep(0.001)
            return False
        raise
    return True


def _try(connection: sqlite3.Connection, write: _Write[Any]) -> None:
    connection.execute("SAVEPOINT one")
    try:
        write.answer = write.work(connection)
    except Exception as error:
        # Where SQLite has undone the whole transaction, this fails, and all of it is refused.
        connection.execute("ROLLBACK TO one")
        write.error = error
    connection.execute("RELEASE one")


def _fail(writes: list[_Write[Any]], error: Exception) -> None:
    for write in writes:
        # Each thread raises one of its own.
        write.error = write.error or (StateError(str(error)) if isinstance(error, StateError) else error)
