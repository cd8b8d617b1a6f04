"""Writing so that nothing half-written is ever left."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from foveate.core.errors import OutputExistsError, StorageError


def check_free(out: Path) -> None:
    """Refuse an output path that already holds something.

    Raises
    ------
    OutputExistsError
        ``out`` is a file, or a folder that is not empty.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise OutputExistsError(f"'{out}' already holds something; name another output or remove it first")


@contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside ``out`` that becomes ``out`` when the block ends well, and vanishes when it does not.

    Raises
    ------
    OutputExistsError
        ``out`` already holds something.
    StorageError
        No folder can be made there.
    """
    check_free(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise StorageError(f"'{out}' cannot be made: {error.strerror}; name a place where you may write") from error
    try:
        # mkdtemp makes a folder for the owner alone; the result is an ordinary one.
        staging.chmod(0o755)
        yield staging
        staging.rename(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_durably(path: Path, content: bytes) -> None:
    """Write a file of its own, and come back only when the disk holds it."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Have the disk hold a folder's list of names: what was made, renamed or removed in it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, say: Callable[[str], None] | None = None, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file, after whoever holds it; the system lets go of it when the process ends, however it ends.

    Parameters
    ----------
    say
        Called with one line where somebody else holds it; None waits in silence.
    wait
        Whether to wait for somebody else who holds it.

    Raises
    ------
    BlockingIOError
        Somebody else holds it, and that is not waited for.
    """
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise
            stream.seek(0)
            if say:
                say(f"waiting: process {stream.read() or 'unknown'} is at work in '{path.parent}'")
            fcntl.flock(stream, fcntl.LOCK_EX)
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
