"""Watching a registry: which bundle is promoted just now, and a folder that holds it.

A registry of this machine says so by its link. One at an address that fsspec knows (``s3://``, ``gs://``, ``https://``)
is a copy of such a folder, put there by whatever copies folders; stores know no links, so its history says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from foveate.bundle import BUNDLES, HISTORY, verify
from foveate.bundle.manifest import MANIFEST, read_manifest
from foveate.errors import BundleError, ReleaseError
from foveate.files import staged_folder
from foveate.releases.history import Entry, in_force, latest, read_history, standing
from foveate.releases.registry import Releases


@dataclass(frozen=True)
class Promoted:
    """The bundle that is promoted, and its folder."""

    bundle_id: str
    path: Path


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

    def state(self) -> Path:
        """Return where viewers' events and impressions lie, whichever bundle serves."""
        ...


class LocalRegistry:
    """A registry folder of this machine.

    Parameters
    ----------
    root
        The folder.
    """

    def __init__(self, root: Path) -> None:
        self._releases = Releases(root.resolve())

    def current(self) -> str | None:
        """Return the id of the bundle that the link leads to."""
        return self._releases.current()

    def good(self) -> list[str]:
        """Return what the link leads to and after it what served well before."""
        return _good(self._releases.current(), self._releases.changes())

    def fetched(self, bundle_id: str) -> Promoted:
        """Return a bundle where it lies: it never changes there."""
        path = self._releases.path(bundle_id)
        verify(path)
        return Promoted(bundle_id, path)

    def state(self) -> Path:
        """Return the file that the registry's bundles share."""
        return self._releases.root / "state.sqlite"


class StoredRegistry:
    """A registry at an address.

    Parameters
    ----------
    address
        As fsspec takes it.
    mirror
        A folder of this machine that takes the bundles; on a cluster, one that every node sees.

    Raises
    ------
    ReleaseError
        No package for such addresses is installed.
    """

    def __init__(self, address: str, mirror: Path) -> None:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - for registries at an address alone

        self._address = address
        self._mirror = mirror
        try:
            # Listings must be fresh: what is promoted while we look is what we look for.
            self._store, self._root = url_to_fs(address, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise ReleaseError(f"registry '{address}': {error}") from error

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
        copy = self._mirror / HISTORY
        copy.write_bytes(self._read(f"{self._root}/{HISTORY}"))
        return read_history(copy)

    def fetched(self, bundle_id: str) -> Promoted:
        """Copy a bundle here, unless it is here already."""
        place = self._mirror / BUNDLES / bundle_id
        if place.exists():
            verify(place)
            return Promoted(bundle_id, place)
        with staged_folder(place) as folder:
            source = f"{self._root}/{BUNDLES}/{bundle_id}"
            (folder / MANIFEST).write_bytes(self._read(f"{source}/{MANIFEST}"))
            for name in read_manifest(folder).files:
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(self._read(f"{source}/{name}"))
            if verify(folder).bundle_id != bundle_id:
                raise BundleError(f"'{self._address}': folder '{BUNDLES}/{bundle_id}' holds another bundle")
        return Promoted(bundle_id, place)

    def state(self) -> Path:
        """Return the mirror's own file: what viewers do here stays here."""
        return self._mirror / "state.sqlite"

    def _read(self, path: str) -> bytes:
        try:
            self._store.invalidate_cache()
            content: bytes = self._store.cat_file(path)
        except Exception as error:  # Each kind of store fails in its own way.
            raise ReleaseError(f"registry '{self._address}': '{path}': {' '.join(str(error).split())}") from error
        return content


def _good(current: str | None, changes: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys([*([current] if current else []), *reversed(standing(changes))]))


def watched(registry: str, mirror: Path) -> Watched:
    """Return a registry to watch: a folder, or an address with ``://`` whose bundles are copied to ``mirror``."""
    return StoredRegistry(registry.rstrip("/"), mirror) if "://" in registry else LocalRegistry(Path(registry))
