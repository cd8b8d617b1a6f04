"""What a registry does to its folder: each step is there whole, on the disk, or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from foveate.bundle import Manifest, verify
from foveate.bundle.manifest import MANIFEST, read_verified
from foveate.files import sync_folder, write_durably

_STAGED: Final = ".staged-"
"""Begins the name of what is not yet in its place."""


@contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock file, after whoever holds it; the system lets go of it when the process ends, however it ends."""
    with path.open("a+", encoding="utf-8") as stream:
        _acquire(stream, path, say)
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def clear_up(*folders: Path) -> None:
    """Remove what an interrupted process left half-made; whoever calls holds the lock."""
    for folder in folders:
        for left in folder.glob(f"{_STAGED}*"):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()


def keep(source: Path, manifest: Manifest, place: Path) -> None:
    """Copy a bundle to its place in the registry, unless it lies there already.

    Raises
    ------
    BundleError
        The source has changed, or what lies there is damaged.
    """
    if place.exists():
        verify(place)
        return
    staging = Path(tempfile.mkdtemp(prefix=_STAGED, dir=place.parent))
    # mkdtemp makes a folder for the owner alone; the result is an ordinary one.
    staging.chmod(0o755)
    for name in manifest.files:
        target = staging / name
        target.parent.mkdir(exist_ok=True)
        write_durably(target, read_verified(source, name, manifest))
    write_durably(staging / MANIFEST, (source / MANIFEST).read_bytes())
    verify(staging)
    for folder in [*(path for path in staging.rglob("*") if path.is_dir()), staging]:
        sync_folder(folder)
    staging.rename(place)
    sync_folder(place.parent)


def point(link: Path, target: Path) -> None:
    """Have a symbolic link lead to ``target``, in one step: a reader finds the old one or the new one."""
    staged = link.with_name(f"{_STAGED}{link.name}")
    staged.symlink_to(target, target_is_directory=True)
    staged.replace(link)
    sync_folder(link.parent)


def _acquire(stream: IO[str], path: Path, say: Callable[[str], None]) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        say(f"waiting: process {stream.read() or 'unknown'} is at work in '{path.parent}'")
        fcntl.flock(stream, fcntl.LOCK_EX)
