"""The identity of an open file: its path may come to name another file, or none, while SQLite writes into the old one.

A file is known by its place on the disk, and its content by a name that it got when it was made (its incarnation).
"""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from foveate.core.errors import StateError

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
