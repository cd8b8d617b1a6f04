"""Temporary folders of this machine that do not outlive who made them, even where that was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

OWNER: Final = "owner.lock"
"""Locked as long as the process that made the folder lives."""
_YOUNG_S: Final = 60.0
"""A folder without the lock is not judged before this age: its owner may be about to take it."""


@contextmanager
def scratch_folder(prefix: str, parent: Path, in_use: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yield a new folder that is removed at the end of the block, after removing those of dead processes.

    Parameters
    ----------
    prefix
        How the folder's name begins; folders of this user that begin so are looked at.
    parent
        Where the folder is made.
    in_use
        Whether a folder whose owner is dead is used by another process still, or has no known owner; None says no.
    """
    _sweep(prefix, parent, in_use or _unused)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        with (folder / OWNER).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(prefix: str, parent: Path, in_use: Callable[[Path], bool]) -> None:
    for folder in parent.glob(f"{prefix}*"):
        # Another process may sweep at the same moment.
        with suppress(OSError):
            found = folder.lstat()
            own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if own and _is_dead(folder, found.st_mtime) and not in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_dead(folder: Path, changed_at: float) -> bool:
    try:
        with (folder / OWNER).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return time.time() - changed_at > _YOUNG_S
    return True


def _unused(folder: Path) -> bool:
    del folder
    return False
