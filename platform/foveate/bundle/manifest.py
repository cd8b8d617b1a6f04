"""The manifest of a bundle, and the checks that the bundle agrees with it.

The manifest is written in one canonical form, so that a change of any byte of it shows.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import BundleError, ConfigError

SCHEMA_VERSION: Final = 1
"""Of the bundle folder; a bundle of another version is refused."""

MANIFEST: Final = "manifest.json"
CARD: Final = "card.md"
ID_LENGTH: Final = 16

Metrics: TypeAlias = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Figures by window, model and metric: ``{"validation": {"two-stage": {"ndcg@10": 0.1}}}``."""


@dataclass(frozen=True)
class FileEntry:
    """One file of a bundle: its size in bytes and the SHA-256 of its content."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything about a bundle that is not a weight.

    Parameters
    ----------
    bundle_id
        Hash of all the rest but the card, which names the id: the same training gives the same id.
    foveate
        Version that wrote it.
    files
        Every file by its path within the bundle, the manifest aside.
    parent
        Id of the bundle that this one replaces.
    recipe
        How it was trained.
    sources, features
        Names of the candidate sources and of the features, in order.
    columns, feature_schema
        The columns of a feature row, and the hash that names that layout.
    positive_kinds
        Event kinds that count as interest.
    items
        How many items the catalogue has.
    metrics
        What was measured before it was written, by window, model and metric.
    data, data_hash, simulated
        Title and content hash of the dataset, and whether it came from a simulated world.
    sweep
        The sweep and the trial that chose the settings.
    seeds
        Seeds of the training.
    upto, learned_until
        What the training left unseen (``all`` for nothing; see :func:`foveate.training.fit`), and the moment before
        which it learned from everything: UTC microseconds, None where the clock is order only or nobody said.
    """

    bundle_id: str
    foveate: str
    files: Mapping[str, FileEntry]
    recipe: Mapping[str, Any]
    sources: tuple[str, ...]
    features: tuple[str, ...]
    columns: tuple[str, ...]
    feature_schema: str
    positive_kinds: tuple[str, ...]
    items: int
    data_hash: str
    data: str = ""
    simulated: bool = False
    parent: str | None = None
    metrics: Metrics = field(default_factory=dict)
    sweep: Mapping[str, Any] | None = None
    seeds: tuple[int, ...] = ()
    upto: str = "all"
    learned_until: int | None = None
    schema_version: int = SCHEMA_VERSION

    def identified(self) -> Manifest:
        """Return the manifest with the id that its content gives."""
        return replace(self, bundle_id=content_id(self))

    def write(self, folder: Path) -> None:
        """Write it into a bundle's folder."""
        (folder / MANIFEST).write_bytes(_canonical(to_dict(self)))


def content_id(manifest: Manifest) -> str:
    """Return the hash of everything but the id itself and the card."""
    content = to_dict(manifest)
    del content["bundle_id"]
    content["files"].pop(CARD, None)
    return hashlib.sha256(_canonical(content)).hexdigest()[:ID_LENGTH]


def read_manifest(folder: Path) -> Manifest:
    """Read and verify a bundle's manifest.

    Raises
    ------
    BundleError
        It is absent, damaged, altered, or of another schema version.
    """
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
        content = json.loads(raw)
        version = content["schema_version"]
    except OSError as error:
        raise BundleError(f"'{folder}' is no bundle: {MANIFEST}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"'{path}' is damaged: {error}") from error
    if version != SCHEMA_VERSION:
        found = f"schema version {version}, this Foveate reads {SCHEMA_VERSION}"
        raise BundleError(f"'{path}' has {found}: train again, or use the version that wrote it")
    try:
        manifest = from_dict(Manifest, content)
    except ConfigError as error:
        raise BundleError(f"'{path}' is damaged: {error}") from error
    if _canonical(to_dict(manifest)) != raw or content_id(manifest) != manifest.bundle_id:
        raise BundleError(f"'{path}' was altered: its content does not give bundle id '{manifest.bundle_id}'")
    return manifest


def entry_of(content: bytes) -> FileEntry:
    """Return the entry of a file with this content."""
    return FileEntry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Check that a bundle holds exactly the files that its manifest lists, of the sizes it lists.

    Raises
    ------
    BundleError
        A file is missing, is not listed, or has another size.
    """
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()} - {MANIFEST}
    for name in sorted(set(manifest.files) - present):
        raise BundleError(f"bundle '{folder}': file '{name}' is missing")
    for name in sorted(present - set(manifest.files)):
        raise BundleError(f"bundle '{folder}': file '{name}' does not belong to it")
    for name, entry in manifest.files.items():
        size = (folder / name).stat().st_size
        if size != entry.bytes:
            raise BundleError(f"bundle '{folder}': file '{name}' has {size} bytes, {MANIFEST} says {entry.bytes}")


def read_verified(folder: Path, name: str, manifest: Manifest) -> bytes:
    """Return the content of one file, whose checksum holds.

    Raises
    ------
    BundleError
        The file cannot be read, or is not what was written.
    """
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise BundleError(f"bundle '{folder}': file '{name}': {error.strerror}") from error
    if entry_of(content) != manifest.files[name]:
        raise _altered(folder, name)
    return content


def check_verified(folder: Path, name: str, manifest: Manifest) -> None:
    """Check one file as :func:`read_verified` does, without holding its content; raises as that does."""
    try:
        with (folder / name).open("rb") as file:
            found = FileEntry(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise BundleError(f"bundle '{folder}': file '{name}': {error.strerror}") from error
    if found != manifest.files[name]:
        raise _altered(folder, name)


def _altered(folder: Path, name: str) -> BundleError:
    said = f"its checksum is not the one in {MANIFEST}"
    return BundleError(f"bundle '{folder}': file '{name}' was altered: {said}")


def _canonical(content: Any) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode()
