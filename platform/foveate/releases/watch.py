"""Watching a registry: which bundle is promoted just now, and a folder that holds it.

A registry of this machine says so by its link. One at an address (``s3://``, ``gs://``, ``https://``) was promoted to
there, or is a copy of such a folder; stores know no links, so its history says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from foveate.bundle import BUNDLES, HISTORY, verify
from foveate.core.errors import BundleError
from foveate.releases.history import Entry, in_force, latest, read_history, standing
from foveate.releases.registry import Releases
from foveate.releases.store import StoreBackend
from foveate.releases.viewer_state import state_to_serve
from foveate.state.connect import StatePlace
from foveate.storage.folder import Place
from foveate.storage.transfer import is_address


@dataclass(frozen=True)
class Promoted:
    """The bundle that is promoted, and its folder."""

    bundle_id: str
    path: Path
    place: Place
    """What replicas are told: the folder, or the address from which each node brings it."""


class Watched(Protocol):
    """A registry to look at again and again."""

    def current(self) -> str | None:
        """Return the id of the bundle that is promoted, None before there is one.

        Raises
        ------
        ReleaseError
            The registry cannot be read.
        """
        ...

    def good(self) -> list[str]:
        """Return what is promoted and after it what a rollback would fall back on, the newest first.

        Raises
        ------
        ReleaseError
            The registry cannot be read.
        """
        ...

    def fetched(self, bundle_id: str) -> Promoted:
        """Return a bundle in a folder of this machine, whose every byte is verified.

        Raises
        ------
        BundleError
            It is damaged, or not whole yet.
        ReleaseError
            The registry cannot be read.
        """
        ...

    @property
    def folder(self) -> Path:
        """The folder of this machine that is the registry, or mirrors it."""
        ...

    def state(self) -> StatePlace:
        """Return where viewers' events and impressions lie, whichever bundle serves.

        Raises
        ------
        ReleaseError
            What the folder says of it cannot be read.
        """
        ...


class LocalRegistry:
    """A registry folder of this machine.

    Parameters
    ----------
    root
        The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._releases = Releases(self._root)

    def current(self) -> str | None:
        """Return the id of the bundle that the link leads to."""
        return self._releases.current()

    def good(self) -> list[str]:
        """Return what the link leads to and after it what served well before."""
        return _good(self._releases.current(), self._releases.changes())

    def fetched(self, bundle_id: str) -> Promoted:
        """Return a bundle where it lies: it never changes there."""
        path = self._root / BUNDLES / bundle_id
        verify(path)
        return Promoted(bundle_id, path, path)

    @property
    def folder(self) -> Path:
        """The registry itself."""
        return self._root

    def state(self) -> StatePlace:
        """Return the store that the registry's bundles share."""
        return state_to_serve(self._root)


class StoredRegistry:
    """A registry at an address.

    Parameters
    ----------
    address
        As Arrow or fsspec takes it.
    mirror
        A folder of this machine that takes the bundles; replicas bring theirs from the address.

    Raises
    ------
    ReleaseError
        No package for such addresses is installed.
    """

    def __init__(self, address: str, mirror: Path) -> None:
        self._backend = StoreBackend(address)
        self._mirror = mirror

    def current(self) -> str | None:
        """Return the id of the bundle that the history's last change brought."""
        return latest(self._history())

    def good(self) -> list[str]:
        """Return what the history's last change brought and after it what served well before."""
        entries = self._history()
        current = latest(entries)
        return _good(current, in_force(entries, current))

    def _history(self) -> tuple[Entry, ...]:
        (self._mirror / BUNDLES).mkdir(parents=True, exist_ok=True)
        # With its history, the mirror is known as a registry, whose bundles share one state.
        self._backend.copy_history(self._mirror / HISTORY)
        return read_history(self._mirror / HISTORY)

    def fetched(self, bundle_id: str) -> Promoted:
        """Copy a bundle here, unless it is here already."""
        path = self._backend.copied_to(bundle_id, self._mirror / BUNDLES / bundle_id)
        found = verify(path).bundle_id
        if found != bundle_id:
            raise BundleError(f"'{self._backend.place(bundle_id)}' holds another bundle, {found}")
        return Promoted(bundle_id, path, self._backend.place(bundle_id))

    @property
    def folder(self) -> Path:
        """The mirror."""
        return self._mirror

    def state(self) -> StatePlace:
        """Return the mirror's own store: what viewers do here stays here."""
        return state_to_serve(self._mirror)


def _good(current: str | None, changes: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys([*([current] if current else []), *reversed(standing(changes))]))


def watched(registry: str, mirror: Path) -> Watched:
    """Return a registry to watch: a folder, or an address with ``://`` whose bundles are copied to ``mirror``."""
    return StoredRegistry(registry.rstrip("/"), mirror) if is_address(registry) else LocalRegistry(Path(registry))
