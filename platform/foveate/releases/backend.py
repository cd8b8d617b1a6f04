"""The Protocol of a registry's storage, and its choice: a folder of this machine, or a store at an address."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from foveate.bundle import Manifest
from foveate.releases.folder import FolderBackend
from foveate.releases.history import Entry
from foveate.releases.store import StoreBackend
from foveate.storage.folder import Place
from foveate.storage.transfer import is_address


class Backend(Protocol):
    """A registry's bundles, its history, and the word on which bundle serves. All raise ReleaseError where it fails."""

    def current(self) -> str | None:
        """Return the id of the bundle that serves, None where none was ever promoted."""
        ...

    def history(self) -> tuple[Entry, ...]:
        """Return everything that was done, oldest first."""
        ...

    def place(self, bundle_id: str) -> Place:
        """Return where a bundle lies: what replicas are told."""
        ...

    def bundle(self, bundle_id: str) -> Path:
        """Return a folder of this machine that holds a bundle; the caller verifies its bytes."""
        ...

    def verified(self, bundle_id: str) -> Manifest:
        """Check every byte of a bundle where it lies; raises BundleError where it is damaged."""
        ...

    def kept(self) -> list[str]:
        """Return the ids of all bundles, in order."""
        ...

    def locked(self, say: Callable[[str], None], *, make: bool) -> AbstractContextManager[None]:
        """Be the only one at work, as far as the place allows; ``make`` makes a registry where there is nothing."""
        ...

    def append(self, entry: Entry) -> Entry:
        """Add to the history, and come back only when it is held."""
        ...

    def keep(self, source: Path, manifest: Manifest) -> None:
        """Copy a bundle there, unless it lies there already."""
        ...

    def point(self, bundle_id: str) -> None:
        """Have a bundle serve whose line stands in the history."""
        ...


def backend_of(root: Place) -> Backend:
    """Return what keeps the registry at a path or an address."""
    return StoreBackend(str(root)) if is_address(root) else FolderBackend(Path(root))
