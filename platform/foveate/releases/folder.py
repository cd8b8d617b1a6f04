"""A registry in a folder of this machine: each step is done whole and durably, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from foveate.bundle import BUNDLES, HISTORY, Manifest, verify
from foveate.bundle.manifest import MANIFEST, read_verified
from foveate.core.errors import ReleaseError
from foveate.releases.history import Entry, append, read_history
from foveate.storage.files import locked, sync_folder, write_durably

_STAGED: Final = ".staged-"
"""Begins the name of what is not yet in its place."""


CURRENT: Final = "current"
LOCK: Final = "lock"


class FolderBackend:
    """A :class:`~foveate.releases.backend.Backend` in a folder of this machine.

    Parameters
    ----------
    root
        The folder; :meth:`locked` makes it where it is told to.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def current(self) -> str | None:
        """Return the name of what the link leads to."""
        try:
            return (self._root / CURRENT).readlink().name
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ReleaseError(f"'{self._root / CURRENT}' is no link to a bundle: {error.strerror}") from error

    def history(self) -> tuple[Entry, ...]:
        """Return the lines of the history's file."""
        try:
            return read_history(self._root / HISTORY)
        except OSError as error:
            remedy = "'foveate promote BUNDLE' makes a registry"
            raise ReleaseError(f"'{self._root}' is no registry: {HISTORY}: {error.strerror}; {remedy}") from error

    def place(self, bundle_id: str) -> Path:
        """Return the bundle's folder."""
        return self._root / BUNDLES / bundle_id

    def bundle(self, bundle_id: str) -> Path:
        """Return the bundle's folder: it never changes there."""
        return self.place(bundle_id)

    def verified(self, bundle_id: str) -> Manifest:
        """Check every byte of a bundle."""
        return verify(self.place(bundle_id))

    def kept(self) -> list[str]:
        """Return the names of the bundles' folders."""
        return sorted(path.name for path in (self._root / BUNDLES).glob("*/"))

    @contextmanager
    def locked(self, say: Callable[[str], None], *, make: bool) -> Iterator[None]:
        """Hold the lock's file, and clear up what an interrupted process left."""
        try:
            if make:
                self._make()
            with locked(self._root / LOCK, say):
                clear_up(self._root, self._root / BUNDLES)
                yield
        except OSError as error:
            raise ReleaseError(f"'{error.filename or self._root}': {error.strerror or error}") from error

    def append(self, entry: Entry) -> Entry:
        """Add a line to the history's file."""
        return append(self._root / HISTORY, entry)

    def keep(self, source: Path, manifest: Manifest) -> None:
        """Copy a bundle to its place."""
        keep(source, manifest, self.place(manifest.bundle_id))

    def point(self, bundle_id: str) -> None:
        """Lead the link there."""
        point(self._root / CURRENT, Path(BUNDLES) / bundle_id)

    def _make(self) -> None:
        if self._root.is_dir() and any(self._root.iterdir()) and not (self._root / HISTORY).is_file():
            raise ReleaseError(f"'{self._root}' holds something else than releases; name another --registry")
        self._root.mkdir(parents=True, exist_ok=True)
        # First of all: it tells a registry that is only half made from a folder that is none.
        (self._root / HISTORY).touch()
        (self._root / BUNDLES).mkdir(exist_ok=True)


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
