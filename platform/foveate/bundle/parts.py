"""A model as files and back: safetensors, LightGBM's text, Parquet, YAML; never a pickle."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Set
from enum import Enum

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray
from safetensors import numpy as safetensors

from foveate.bundle.manifest import Manifest
from foveate.config import from_dict, to_dict
from foveate.data.catalog import Catalog
from foveate.features.sets import FeatureSet
from foveate.messages import FeatureMatrix
from foveate.model import Model
from foveate.ranking.base import Ranker
from foveate.recipe import Recipe
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
        **({} if model.learned is None else {LEARNED: _pack({"items": model.learned})}),
        **({} if model.trending is None else {TRENDING: _pack({"items": model.trending})}),
        **({} if model.click_through is None else {CLICK_THROUGH: _pack({"items": model.click_through})}),
        **{source_file(source.name): _pack(source.arrays()) for source in model.sources},
        **{RANKER_FOLDER + name: text.encode() for name, text in model.ranker.texts().items()},
    }


def read_parts(read: Callable[[str], bytes], manifest: Manifest, parts: Set[Part]) -> Model:
    """Make a model again.

    Parameters
    ----------
    read
        Returns the content of one file.
    manifest
        What the bundle says of itself.
    parts
        What to load; a model without a part cannot do that part's work.
    """
    recipe = from_dict(Recipe, manifest.recipe, "recipe")
    catalog = Catalog(pl.read_parquet(io.BytesIO(read(CATALOG))))
    has_ranker = Part.RANKER in parts
    return Model(
        recipe=recipe,
        catalog=catalog,
        sources=tuple(_sources(read, recipe, catalog)) if Part.SOURCES in parts else (),
        features=FeatureSet.restore(
            manifest.sources,
            recipe.remark_names,
            manifest.features,
            arrays=safetensors.load(read(FEATURES)) if has_ranker else {},
            catalog=catalog,
            signals=recipe.signals,
        ),
        ranker=_ranker(read, recipe, manifest) if has_ranker else _NotLoaded(),
        positive_kinds=manifest.positive_kinds,
        clock=recipe.clock,
        # A bundle of an older Foveate has none of them.
        learned=_items(read, LEARNED, manifest),
        trending=_items(read, TRENDING, manifest),
        click_through=_items(read, CLICK_THROUGH, manifest),
    )


def _items(read: Callable[[str], bytes], name: str, manifest: Manifest) -> NDArray[np.float32] | None:
    return safetensors.load(read(name))["items"] if name in manifest.files else None


def _sources(read: Callable[[str], bytes], recipe: Recipe, catalog: Catalog) -> list[CandidateSource]:
    return [
        config.restore(safetensors.load(read(source_file(type(config).name))), catalog) for config in recipe.sources
    ]


def _ranker(read: Callable[[str], bytes], recipe: Recipe, manifest: Manifest) -> Ranker:
    names = [name for name in manifest.files if name.startswith(RANKER_FOLDER)]
    return recipe.ranker.restore({name.removeprefix(RANKER_FOLDER): read(name).decode() for name in names})


def _pack(arrays: Arrays) -> bytes:
    return bytes(safetensors.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
