"""A registry at an address such as ``s3://bucket/registry``.

Stores know no links and no locks: the history's last change says what serves, so one line, written whole, is the
switch. It is written on the condition that the history is still the one that was read: of two who promote at the same
time one is told to try again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from foveate.bundle import BUNDLES, HISTORY, Manifest, verify
from foveate.core.config import to_dict
from foveate.core.errors import BundleError, ConfigError, OutputExistsError, ReleaseError, StorageError
from foveate.releases.history import Entry, latest, read_history
from foveate.storage.conditional import replace_if_same
from foveate.storage.folder import Folder
from foveate.storage.transfer import MANIFEST, bring, local_copy, read_manifest, send


class StoreBackend:
    """A :class:`~foveate.releases.backend.Backend` at an address.

    Parameters
    ----------
    address
        As Arrow or fsspec takes it.

    Raises
    ------
    ReleaseError
        Nobody knows such addresses.
    """

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        with _release_errors():
            self._folder = Folder.at(self._address)
        self._read: bytes | None = None

    def current(self) -> str | None:
        """Return the bundle of the history's last change; None before there is a history."""
        return latest(self.history()) if self._content() is not None else None

    def history(self) -> tuple[Entry, ...]:
        """Read the history, and remember what it was."""
        self._read = self._content()
        if self._read is None:
            remedy = "'foveate promote BUNDLE' makes a registry"
            raise ReleaseError(f"'{self._address}' is no registry: it holds no {HISTORY}; {remedy}")
        return self._entries(self._read)

    def place(self, bundle_id: str) -> str:
        """Return the bundle's address."""
        return str(self._folder / BUNDLES / bundle_id)

    def bundle(self, bundle_id: str) -> Path:
        """Bring a bundle here, unless it is here already."""
        with _release_errors():
            return local_copy(self.place(bundle_id), verify)

    def verified(self, bundle_id: str) -> Manifest:
        """Bring a bundle once more, whatever the cache holds: it is what lies there that nodes will get."""
        with tempfile.TemporaryDirectory(prefix="foveate-") as scratch:
            try:
                return verify(self.copied_to(bundle_id, Path(scratch) / bundle_id))
            except ReleaseError as error:
                if error.__cause__ and isinstance(error.__cause__.__cause__, FileNotFoundError):
                    raise BundleError(f"bundle {bundle_id} is not whole: {error}") from error
                raise

    def copied_to(self, bundle_id: str, place: Path) -> Path:
        """Bring a bundle to a place of its own, unless it is there already."""
        with _release_errors():
            source = self._folder / BUNDLES / bundle_id
            return bring(source, read_manifest(source), place, verify)

    def kept(self) -> list[str]:
        """Return the names of the bundles' folders."""
        with _release_errors():
            found = self._folder / BUNDLES
            return found.answer(found.folders)

    @contextmanager
    def locked(self, say: Callable[[str], None], *, make: bool) -> Iterator[None]:
        """See that there is a registry, or that nothing else lies there; there is no lock to hold."""
        del say
        with _release_errors():
            if make and self._content() is None:
                self._folder.check_free()
                replace_if_same(self._folder, HISTORY, None, b"")
        yield

    def append(self, entry: Entry) -> Entry:
        """Add a line, if the history is what it was when it was read; what reads it meanwhile finds the old one."""
        after = (self._read or b"") + (json.dumps(to_dict(entry), allow_nan=False) + "\n").encode()
        with _release_errors():
            written = replace_if_same(self._folder, HISTORY, self._read, after)
        if not written:
            raise ReleaseError(f"'{self._address}': somebody else changed it just now; look at it and try again")
        self._read = after
        return entry

    def keep(self, source: Path, manifest: Manifest) -> None:
        """Copy a bundle there, its manifest last."""
        target = self._folder / BUNDLES / manifest.bundle_id
        with _release_errors():
            if target.answer(lambda: target.holds(MANIFEST)):
                return
            verify(source)
            send(source, target)

    def point(self, bundle_id: str) -> None:
        """Do nothing: the history has said it."""
        del bundle_id

    def copy_history(self, path: Path) -> None:
        """Write the history to a file of this machine."""
        self.history()
        path.write_bytes(self._read or b"")

    def _content(self) -> bytes | None:
        def read() -> bytes | None:
            try:
                return self._folder.read(HISTORY).encode()
            except FileNotFoundError:
                return None

        with _release_errors():
            return self._folder.answer(read)

    def _entries(self, content: bytes) -> tuple[Entry, ...]:
        with tempfile.NamedTemporaryFile() as copy:
            Path(copy.name).write_bytes(content)
            try:
                return read_history(Path(copy.name))
            except ReleaseError as error:
                raise ReleaseError(f"'{self._address}': {error}") from error


@contextmanager
def _release_errors() -> Iterator[None]:
    try:
        yield
    except (ConfigError, OutputExistsError, StorageError) as error:
        raise ReleaseError(f"registry {error}") from error
