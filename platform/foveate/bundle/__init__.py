"""Bundles: immutable folders, trained in one place and served in another, checked to the byte when they are read.

::

    BUNDLE/manifest.json            what it is: names, hashes, figures, and a checksum of every other file
           card.md                  the same for a person
           recipe.yaml              how to train it again
           catalog.parquet          the items
           features.safetensors     what the features remember of the items
           sources/NAME.safetensors what each candidate source has learned
           learned.safetensors      the items as vectors, where a source learns some
           trending.safetensors     what everyone watches, for when no source can be asked
           click_through.safetensors how often the items are clicked, where slates are listed by that
           ranker/*                 the re-ranker, as text
           golden.json              a few made-up requests and how they were answered: see :mod:`foveate.bundle.golden`

It holds no pickle and no viewer's history: whoever erases a viewer need not break a checksum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl
from polars.exceptions import PolarsError
from safetensors import SafetensorError

from foveate._version import __version__
from foveate.bundle import golden
from foveate.bundle.card import card
from foveate.bundle.golden import Golden
from foveate.bundle.manifest import (
    CARD,
    Manifest,
    Metrics,
    check_verified,
    entry_of,
    read_manifest,
    read_verified,
    verify_files,
)
from foveate.bundle.parts import Part, large_files, read_parts, write_parts
from foveate.bundle.shard import BundleShard
from foveate.core.config import to_dict
from foveate.core.errors import BundleError, FoveateError
from foveate.core.messages import NO_TIME
from foveate.core.tables import Tabular
from foveate.recommend.model import Model
from foveate.storage.files import staged_folder

__all__ = ["Bundle", "BundleShard", "Manifest", "Part", "default_state", "registry_of", "verify"]

ALL_PARTS = frozenset(Part)

BUNDLES: Final = "bundles"
HISTORY: Final = "history.jsonl"
"""What a registry of bundles is known by; see :mod:`foveate.releases`."""
STATE: Final = "state.sqlite"
"""Viewers' state in a registry; beside a bundle that lies elsewhere, after the bundle's name and a dot."""


@dataclass(frozen=True, repr=False)
class Bundle(Tabular):
    """A bundle that was read or written, and the model in it; a bundle of an older Foveate has no golden requests.

    Examples
    --------
    >>> import foveate
    >>> data = foveate.simulate(viewers=120, items=80, days=14)
    >>> bundle = foveate.train(data, {"sources": ["covisitation", "popularity"]})
    >>> foveate.Bundle.load(bundle.path).bundle_id == bundle.bundle_id
    True
    """

    path: Path
    manifest: Manifest
    model: Model
    golden: Golden | None = None

    @property
    def bundle_id(self) -> str:
        """The hash of its contents."""
        return self.manifest.bundle_id

    @property
    def heading(self) -> str:
        """What it is and what it learned from."""
        return f"bundle {self.bundle_id} in {self.path}, trained on {self.manifest.data}"

    def frame(self) -> pl.DataFrame:
        """Return its figures: one row a window and model."""
        windows = self.manifest.metrics.items()
        rows = [{"window": window, "model": name, **row} for window, models in windows for name, row in models.items()]
        return pl.DataFrame(rows, infer_schema_length=None)

    def check_answers(self) -> None:
        """Ask the golden requests again; a bundle of an older Foveate has none.

        Raises
        ------
        BundleError
            They are answered otherwise than when the bundle was made.
        """
        if self.golden:
            self.golden.check_retrieval(self.model)
            self.golden.check_ranking(self.model)

    @classmethod
    def save(
        cls,
        model: Model,
        path: Path,
        *,
        data_hash: str,
        data: str = "",
        simulated: bool = False,
        parent: str | None = None,
        metrics: Metrics | None = None,
        sweep: Mapping[str, Any] | None = None,
        seeds: Sequence[int] = (),
        upto: str = "all",
        learned_until: int | None = None,
    ) -> Bundle:
        """Write a model as a bundle.

        Parameters
        ----------
        path
            A folder that does not exist, or is empty.
        data_hash, data, simulated
            Content hash and title of the dataset, and whether it was simulated.
        parent
            Id of the bundle that this one replaces.
        metrics
            What was measured, by window, model and metric; numbers must be finite.
        sweep
            What chose the settings, such as ``{"sweep": ID, "trial": ID}``.
        seeds
            Seeds of the training.
        upto, learned_until
            What the training left unseen, and the moment before which it learned from everything; ``NO_TIME`` or None
            where the clock is order only. An evaluation of the bundle says by them whether it has seen the answers.

        Raises
        ------
        OutputExistsError
            ``path`` already holds something.
        BundleError
            A metric is not finite.
        """
        asked = Golden.of(model, learned_until)
        parts = {**write_parts(model), golden.FILE: asked.written()}
        manifest = Manifest(
            bundle_id="",
            foveate=__version__,
            files={name: entry_of(content) for name, content in sorted(parts.items())},
            recipe=to_dict(model.recipe),
            sources=tuple(source.name for source in model.sources),
            features=tuple(type(feature).name for feature in model.features.features),
            columns=model.features.names,
            feature_schema=model.features.schema_hash,
            positive_kinds=model.positive_kinds,
            items=len(model.catalog),
            data_hash=data_hash,
            data=data,
            simulated=simulated,
            parent=parent,
            metrics=dict(metrics or {}),
            sweep=sweep,
            seeds=tuple(seeds),
            upto=upto,
            learned_until=None if learned_until == NO_TIME else learned_until,
        )
        try:
            manifest = manifest.identified()
        except ValueError as error:
            raise BundleError(f"the metrics of a bundle must be finite numbers: {error}") from error
        page = card(manifest, model).encode()
        manifest = replace(manifest, files={**manifest.files, CARD: entry_of(page)})
        with staged_folder(path) as folder:
            for name, content in {**parts, CARD: page}.items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(content)
            manifest.write(folder)
        return cls(path, manifest, model, asked)

    @classmethod
    def load(cls, path: Path, parts: Set[Part] = ALL_PARTS, *, mapped: bool = False) -> Bundle:
        """Read a bundle; every byte of it is verified, whatever ``parts`` are loaded.

        Parameters
        ----------
        mapped
            Whether the vectors of all items stay in their files, where rows of them are read as they are needed: for a
            process that does not search among all items itself.

        Raises
        ------
        BundleError
            The folder is absent or no bundle; a file was altered, is missing, or does not belong to it; it is of
            another schema version; or this Foveate defines its features otherwise.
        """
        folder = _one_folder(path)
        manifest = read_manifest(folder)
        verify_files(folder, manifest)
        large = {name: folder / name for name in large_files(manifest) if mapped}
        for name in large:
            check_verified(folder, name, manifest)
        contents = {name: read_verified(folder, name, manifest) for name in manifest.files if name not in large}
        try:
            model = read_parts(contents.__getitem__, manifest, parts, large)
            asked = Golden.read(contents[golden.FILE]) if golden.FILE in contents else None
        except (FoveateError, ValueError, KeyError, TypeError, PolarsError, SafetensorError) as error:
            wrote = f"it was written by Foveate {manifest.foveate}, this is {__version__}"
            raise BundleError(f"bundle '{path}' cannot be read: {error} ({wrote})") from error
        if model.features.names != manifest.columns or model.features.schema_hash != manifest.feature_schema:
            raise BundleError(f"bundle '{path}': its features are defined otherwise in this Foveate: train again")
        return cls(path, manifest, model, asked)


def verify(path: Path) -> Manifest:
    """Check every byte of a bundle without making its model; return its manifest.

    Raises
    ------
    BundleError
        As :meth:`Bundle.load`, but for what only a loaded model can show.
    """
    folder = _one_folder(path)
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    for name in manifest.files:
        read_verified(folder, name, manifest)
    return manifest


def default_state(bundle: Path) -> Path:
    """Return the file of viewers' events and impressions that lies beside a bundle.

    The bundles of one registry share a file: what viewers do outlives the bundle that served them.
    """
    registry = registry_of(bundle)
    if registry is not None:
        return registry / STATE
    bundle = bundle.resolve()
    return bundle.with_name(f"{bundle.name}.{STATE}")


def registry_of(bundle: Path) -> Path | None:
    """Return the folder of the registry that a bundle lies in, None for one that lies elsewhere."""
    bundle = bundle.resolve()
    registry = bundle.parent.parent
    return registry if bundle.parent.name == BUNDLES and (registry / HISTORY).is_file() else None


def _one_folder(path: Path) -> Path:
    """Follow a link once and for all: it may be led to another bundle while this one is being read."""
    return path.resolve() if path.is_symlink() else path
