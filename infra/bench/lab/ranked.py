"""What a model ranks for a window's viewers, kept in a folder: to fit it takes minutes, a curve over it seconds."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from foveate.bundle import Bundle, Part
from foveate.core.config import from_dict, load_yaml, to_dict
from foveate.core.messages import Candidates, FeatureMatrix, Query, Ranked
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.base import Reader
from foveate.data.split import windows
from foveate.evaluation.panel import Panel, panel_of
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.training import fit
from lab.held_out import REPOSITORY, real_data

READERS = {"kuairand-pure": "kuairand", "ml-latest-small": "movielens"}
"""The sets that slates are measured on, and who reads them."""

_BUNDLE, _RANKED = "bundle", "ranked.npz"
_BATCH = 256

Window = Literal["selection", "test"]


@dataclass(frozen=True)
class RankedWindow:
    """A fitted model (its sources left out) and the ranked candidates of each viewer of the panel."""

    model: Model
    panel: Panel
    ranked: Sequence[Ranked]


def recipe_of(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe that is published for a set."""
    from foveate.core.overrides import apply_overrides  # noqa: PLC0415

    return from_dict(
        Recipe, apply_overrides(load_yaml(REPOSITORY / "infra" / "recipes" / f"{name}.yaml"), overrides, Recipe)
    )


def open_set(name: str, path: Path | None) -> Dataset:
    """Open a dataset folder, or import the raw set of that name where none is given."""
    if path is not None:
        return open_dataset(path)
    reader = Reader.variants[{**READERS, "ml-100k": "recbole"}[name]]()
    return import_dataset(reader, real_data() / name, Path(tempfile.mkdtemp()) / name)


def ranked_window(
    dataset: Dataset, recipe: Recipe, window: Window, cache: Path, progress: Callable[[str], None]
) -> RankedWindow:
    """Fit a model up to a window and rank its viewers' candidates, or read what an earlier call has kept.

    Parameters
    ----------
    cache
        A folder for what is fitted; a model of another recipe, data or window is kept beside it.
    """
    settings = [to_dict(recipe), dataset.manifest.content_hash, window]
    folder = cache / hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    if not (folder / _RANKED).exists():
        shutil.rmtree(folder, ignore_errors=True)
        _fit(dataset, recipe, window, folder, progress)
    model = Bundle.load(folder / _BUNDLE, frozenset[Part]()).model
    events = dataset.log().encode(dataset.users(), model.catalog.items, recipe.signals, model.positive_kinds)
    panel = panel_of(getattr(windows(events, recipe.protocol, recipe.split), window), model.catalog)
    with np.load(folder / _RANKED) as kept:
        offsets = kept["offsets"][1:-1]
        parts = zip(*(np.split(kept[name], offsets) for name in ("items", "scores")), strict=True)
    ranked = [_as_ranked(query, *part) for query, part in zip(panel.queries, parts, strict=True)]
    return RankedWindow(model, panel, ranked)


def _fit(dataset: Dataset, recipe: Recipe, window: Window, folder: Path, progress: Callable[[str], None]) -> None:
    fitted = fit(dataset, recipe, upto=window, progress=progress)
    panel = panel_of(fitted.stage, fitted.model.catalog)
    items, scores = [], []
    for batch in panel.batches(_BATCH):
        for one in fitted.model.rank(batch.queries, fitted.model.candidates(batch.queries)):
            items.append(one.candidates.items)
            scores.append(one.scores)
    Bundle.save(fitted.model, folder / _BUNDLE, data_hash=dataset.manifest.content_hash, data=dataset.title)
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in items])])
    np.savez(folder / _RANKED, items=np.concatenate(items), scores=np.concatenate(scores), offsets=offsets)


def _as_ranked(query: Query, items: np.ndarray, scores: np.ndarray) -> Ranked:
    nothing = np.empty((len(items), 0), dtype=np.float32)
    candidates = Candidates(items, (), nothing, nothing.astype(bool), (), nothing)
    return Ranked(query, candidates, FeatureMatrix((), "", nothing), scores)
