"""A model as files and back: safetensors, LightGBM's text, Parquet, YAML; never a pickle."""

from __future__ import annotations

import io
from collections.abc import Callable, Container, Iterator, Mapping, Set
from enum import Enum
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray
from safetensors import numpy as safetensors
from safetensors import safe_open

from foveate.bundle.manifest import Manifest
from foveate.core.config import from_dict, to_dict
from foveate.core.messages import FeatureMatrix
from foveate.data.catalog import Catalog
from foveate.features.sets import FeatureSet
from foveate.ranking.base import Ranker
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.retrieval.attention import Attention
from foveate.retrieval.base import CandidateSource

Arrays = Mapping[str, NDArray[np.generic]]

CATALOG = "catalog.parquet"
RECIPE = "recipe.yaml"
FEATURES = "features.safetensors"
LEARNED = "learned.safetensors"
TRENDING = "trending.safetensors"
CLICK_THROUGH = "click_through.safetensors"
RANKER_FOLDER = "ranker/"


class Part(Enum):
    """What a process may load or leave out; the catalogue and the recipe always come."""

    SOURCES = "sources"
    RANKER = "ranker"


class _NotLoaded(Ranker):
    """Stands where the ranker was left out."""

    def score(self, features: FeatureMatrix) -> NDArray[np.float32]:
        del features
        raise AssertionError("this process loaded the bundle without its ranker")

    def contributions(self, features: FeatureMatrix) -> NDArray[np.float64]:
        del features
        raise AssertionError("this process loaded the bundle without its ranker")

    def texts(self) -> Mapping[str, str]:
        raise AssertionError("this process loaded the bundle without its ranker")


def source_file(name: str) -> str:
    """Return where a source's arrays lie."""
    return f"sources/{name}.safetensors"


def write_parts(model: Model) -> dict[str, bytes]:
    """Return a model's files by their path within the bundle."""
    frame = io.BytesIO()
    model.catalog.frame.write_parquet(frame, compression="zstd")
    recipe = yaml.safe_dump(to_dict(model.recipe), sort_keys=False, allow_unicode=True)
    return {
        CATALOG: frame.getvalue(),
        RECIPE: recipe.encode(),
        FEATURES: _pack(model.features.arrays()),
        **({} if model.item_vectors is None else {LEARNED: _pack({"items": model.item_vectors})}),
        **({} if model.trending is None else {TRENDING: _pack({"items": model.trending})}),
        **({} if model.click_through is None else {CLICK_THROUGH: _pack({"items": model.click_through})}),
        **{source_file(source.name): _pack(source.arrays()) for source in model.sources},
        **{RANKER_FOLDER + name: text.encode() for name, text in model.ranker.texts().items()},
    }


def large_files(manifest: Manifest) -> frozenset[str]:
    """Return the files that hold a vector of each item."""
    return frozenset(manifest.files) & {LEARNED, source_file(Attention.name)}


def mapped_arrays(path: Path) -> Arrays:
    """Return a safetensors file's arrays where they lie: what is read of them comes into memory, and may go again."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 - it is no mapping


def read_parts(
    read: Callable[[str], bytes], manifest: Manifest, parts: Set[Part], mapped: Mapping[str, Path] | None = None
) -> Model:
    """Make a model again.

    Parameters
    ----------
    read
        Returns the content of one file.
    manifest
        What the bundle says of itself.
    parts
        What to load; a model without a part cannot do that part's work.
    mapped
        Those of :func:`large_files` that are to stay on the disk, and where they lie there.
    """
    large = mapped or {}

    def arrays(name: str) -> Arrays:
        return mapped_arrays(large[name]) if name in large else safetensors.load(read(name))

    recipe = from_dict(Recipe, manifest.recipe, "recipe")
    catalog = Catalog(pl.read_parquet(io.BytesIO(read(CATALOG))))
    has_ranker = Part.RANKER in parts
    return Model(
        recipe=recipe,
        catalog=catalog,
        sources=tuple(_sources(arrays, recipe, catalog, large)) if Part.SOURCES in parts else (),
        features=FeatureSet.restore(
            manifest.sources,
            recipe.source_feature_names,
            manifest.features,
            arrays=arrays(FEATURES) if has_ranker else {},
            catalog=catalog,
            signals=recipe.signals,
        ),
        ranker=_ranker(read, recipe, manifest) if has_ranker else _NotLoaded(),
        positive_kinds=manifest.positive_kinds,
        clock=recipe.clock,
        # A bundle of an older Foveate has none of them.
        item_vectors=_items(arrays, LEARNED, manifest),
        trending=_items(arrays, TRENDING, manifest),
        click_through=_items(arrays, CLICK_THROUGH, manifest),
    )


def _items(arrays: Callable[[str], Arrays], name: str, manifest: Manifest) -> NDArray[np.float32] | None:
    return np.asarray(arrays(name)["items"], dtype=np.float32) if name in manifest.files else None


def _sources(
    arrays: Callable[[str], Arrays], recipe: Recipe, catalog: Catalog, mapped: Container[str]
) -> Iterator[CandidateSource]:
    for config in recipe.sources:
        name = source_file(type(config).name)
        if isinstance(config, Attention) and name in mapped:
            yield config.restore_mapped(arrays(name), catalog)
        else:
            yield config.restore(arrays(name), catalog)


def _ranker(read: Callable[[str], bytes], recipe: Recipe, manifest: Manifest) -> Ranker:
    names = [name for name in manifest.files if name.startswith(RANKER_FOLDER)]
    return recipe.ranker.restore({name.removeprefix(RANKER_FOLDER): read(name).decode() for name in names})


def _pack(arrays: Arrays) -> bytes:
    return bytes(safetensors.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
