"""Datasets and bundles at an address: brought here once, checked, and sent there whole.

What is brought lies in a cache of this machine, by what its manifest says of its contents: one that is named again is
not brought again, and a new one under the same address is.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pyarrow import ArrowException
from pyarrow.fs import copy_files

from foveate.core.errors import ConfigError, OutputExistsError, StorageError
from foveate.storage.files import check_free, staged_folder
from foveate.storage.folder import Folder, Place, naming_folder, reason

MANIFEST: Final = "manifest.json"
"""What datasets and bundles are known by: it is brought first and sent last."""


def is_address(place: Place) -> bool:
    """Whether a place lies at a store, not on this machine's disk."""
    return "://" in str(place)


def absolute(place: Place) -> str:
    """Return a place that means the same from another folder: a path is made absolute, an address stays."""
    return str(place) if is_address(place) else str(Path(place).resolve())


def cache() -> Path:
    """Return this user's cache on this machine, made if it is absent.

    Raises
    ------
    StorageError
        It is somebody else's.
    """
    folder = Path(tempfile.gettempdir()) / f"foveate-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise StorageError(f"'{folder}' is somebody else's folder: set TMPDIR to one of yours")
    return folder


def local_copy(place: Place, check: Callable[[Path], object], cache_folder: Path | None = None) -> Path:
    """Return the folder of a dataset or a bundle on this machine.

    Parameters
    ----------
    place
        A path, which is returned as it is, or an address.
    check
        Raises where a folder is not whole; asked of what was brought just now.
    cache_folder
        In place of :func:`cache`.

    Raises
    ------
    ConfigError
        The store does not answer or does not let us in, or nothing of the kind lies there.
    StorageError
        The store breaks off in the midst, or the disk is full.
    """
    if not is_address(place):
        return Path(place)
    source = Folder.at(str(place))
    manifest = read_manifest(source)
    key = hashlib.sha256(manifest).hexdigest()[:16]
    return bring(source, manifest, (cache_folder or cache()) / f"{source.name}-{key}", check)


def read_manifest(source: Folder) -> bytes:
    """Return the bytes of a dataset's or a bundle's manifest; raises ConfigError as :func:`local_copy` does."""

    def read() -> bytes | None:
        try:
            with source.filesystem.open_input_stream(f"{source.path}/{MANIFEST}") as stream:
                content: bytes = stream.read()
                return content
        except FileNotFoundError:
            return None

    found = source.answer(read)
    if found is None:
        raise ConfigError(f"'{source}' holds no {MANIFEST}: there is no dataset and no bundle; look at the address")
    return found


def bring(source: Folder, manifest: bytes, place: Path, check: Callable[[Path], object]) -> Path:
    """Copy a folder with that manifest to ``place``, unless it is there already, checked and in one step."""
    if place.is_dir():
        return place
    try:
        with staged_folder(place) as folder:
            for name in _names(source, manifest):
                _bring_one(source, name, folder / name)
            (folder / MANIFEST).write_bytes(manifest)
            check(folder)
    except OutputExistsError:
        # Another process has brought it meanwhile.
        return place
    except OSError as error:
        if not place.is_dir():
            raise StorageError(f"'{source}' cannot be brought to '{place}': {reason(error)}") from error
    return place


def _bring_one(source: Folder, name: str, to: Path) -> None:
    try:
        source.bring(name, to)
    except (OSError, ArrowException) as error:
        raise StorageError(f"'{source}' cannot be brought here: '{name}': {reason(error)}") from error


def _names(source: Folder, manifest: bytes) -> list[str]:
    """Return what else lies there: as the manifest lists it, or as the store does."""
    try:
        listed = json.loads(manifest).get("files")
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"'{source}': its {MANIFEST} is damaged: {error}") from error
    names = list(listed) if isinstance(listed, dict) else [name for name in source.files() if name != MANIFEST]
    for name in names:
        if name.startswith("/") or ".." in name.split("/"):
            raise ConfigError(f"'{source}': its {MANIFEST} names '{name}', which lies outside of it")
    return names


@contextmanager
def new_folder(place: Place) -> Iterator[Path]:
    """Yield a path of this machine where a dataset or a bundle is to be made, free and absent.

    Where ``place`` is an address, what was made goes there when the block ends well, its manifest last.

    Raises
    ------
    OutputExistsError
        ``place`` already holds something.
    ConfigError
        The store does not answer, or does not let us in.
    StorageError
        It breaks off in the midst.
    """
    if not is_address(place):
        check_free(Path(place))
        yield Path(place)
        return
    target = Folder.at(str(place))
    target.check_free()
    with tempfile.TemporaryDirectory(prefix="foveate-") as scratch:
        made = Path(scratch) / target.name
        yield made
        send(made, target)


def send(made: Path, target: Folder) -> None:
    """Copy a dataset or a bundle to a store: whoever finds its manifest there finds all of it."""
    files = sorted(path for path in made.rglob("*") if path.is_file() and path != made / MANIFEST)
    for path in [*files, made / MANIFEST]:
        target.send(path, path.relative_to(made).as_posix())


@contextmanager
def local_folder(folder: Folder, names: Sequence[str]) -> Iterator[Path]:
    """Yield a folder of this machine for what can be written nowhere else: the folder itself, if it lies here.

    For any other one a folder beside it, which is brought there when the block ends, however it does; what is there
    already under ``names`` is brought here first.
    """
    if folder.local is not None:
        yield folder.local
        return
    with tempfile.TemporaryDirectory(prefix="foveate-") as scratch:
        scratch_folder = Path(scratch) / folder.name
        scratch_folder.mkdir()
        for name in filter(folder.holds, names):
            there = (folder / name).path
            copy_files(there, str(scratch_folder / name), source_filesystem=folder.filesystem, use_threads=False)
        try:
            yield scratch_folder
        finally:
            with naming_folder(folder):
                # Arrow's threads can lock each other out while they upload.
                copy_files(
                    str(scratch_folder), folder.path, destination_filesystem=folder.filesystem, use_threads=False
                )
