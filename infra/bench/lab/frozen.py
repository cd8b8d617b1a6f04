"""What rankers learn from and are asked about, kept in a folder: every ranker gets identical candidates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.core.config import to_dict
from foveate.core.messages import FeatureMatrix
from foveate.core.metrics import Floats, mid_ranks_among, multi_ndcg_at
from foveate.data.dataset import Dataset
from foveate.evaluation.panel import panel_of
from foveate.ranking.base import Ranker, TrainingSet
from foveate.recommend.recipe import Recipe
from foveate.training import Upto, fit
from lab.kept import is_kept, keep, read

SLATE_SIZE = 10
_BATCH = 256


@dataclass(frozen=True)
class Frozen:
    """A ranker's training set, and the candidates of every viewer of a window.

    Parameters
    ----------
    training
        Without signals: labels are those of the recipe.
    groups
        Names of the columns that tell of one thing.
    features
        Rows of all viewers' candidates.
    items, rows
        Item code of each row, and where each viewer's rows begin and end: ``[B + 1]``.
    targets, offsets
        What the viewers went on to like, and whose is whose: ``[B + 1]``.
    """

    training: TrainingSet
    groups: Mapping[str, tuple[str, ...]]
    features: FeatureMatrix
    items: NDArray[np.int32]
    rows: NDArray[np.int64]
    targets: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @property
    def viewers(self) -> int:
        return len(self.rows) - 1

    def without(self, columns: frozenset[str]) -> Frozen:
        """Return the same rows without some of their columns."""
        kept = [at for at, name in enumerate(self.features.names) if name not in columns]
        training = replace(self.training, features=_columns(self.training.features, kept))
        return replace(self, training=training, features=_columns(self.features, kept))

    def ndcg(self, ranker: Ranker) -> Floats:
        """Return ``[B]`` NDCG@10 of the candidates in a ranker's order; a target that is not among them is missed."""
        return self.ndcg_by(ranker.score(self.features))

    def ndcg_by(self, scores: NDArray[np.floating]) -> Floats:
        """Return ``[B]`` NDCG@10 of the candidates in the order of scores."""
        ranks = []
        for viewer in range(self.viewers):
            own = slice(int(self.rows[viewer]), int(self.rows[viewer + 1]))
            wanted = self.targets[self.offsets[viewer] : self.offsets[viewer + 1]]
            ranks.append(mid_ranks_among(scores[own], self.items[own], wanted))
        return multi_ndcg_at(np.concatenate(ranks), self.offsets, SLATE_SIZE)


def frozen(dataset: Dataset, recipe: Recipe, upto: Upto, cache: Path, say: Callable[[str], None]) -> Frozen:
    """Fit sources and features and gather candidates, or read what an earlier call has kept in ``cache``."""
    settings = [to_dict(replace(recipe, ranker=Recipe().ranker)), dataset.manifest.content_hash, upto]
    folder = cache / hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    if not is_kept(folder):
        _keep(_gathered(dataset, recipe, upto, say), folder)
    return _read(folder)


def _gathered(dataset: Dataset, recipe: Recipe, upto: Upto, say: Callable[[str], None]) -> Frozen:
    # Any ranker will do: what is gathered for it does not depend on it.
    fitted = fit(dataset, replace(recipe, ranker=Recipe().ranker), upto=upto, progress=say)
    model = fitted.model
    panel = panel_of(fitted.stage, model.catalog)
    items, matrices = [], []
    for batch in panel.batches(_BATCH):
        candidates = model.candidates(batch.queries)
        items += [own.items for own in candidates]
        matrices += model.features.build(batch.queries, candidates)
    first = matrices[0]
    return Frozen(
        training=fitted.training,
        groups=model.features.groups,
        features=replace(first, values=np.concatenate([matrix.values for matrix in matrices])),
        items=np.concatenate(items),
        rows=np.concatenate([[0], np.cumsum([len(own) for own in items])]).astype(np.int64),
        targets=panel.targets,
        offsets=panel.offsets,
    )


def _keep(found: Frozen, folder: Path) -> None:
    keep(
        folder,
        found.training,
        found.groups,
        features=found.features.values,
        items=found.items,
        rows=found.rows,
        targets=found.targets,
        offsets=found.offsets,
    )


def _read(folder: Path) -> Frozen:
    training, groups, arrays = read(folder)
    features = replace(training.features, values=arrays.pop("features"))
    return Frozen(training, groups, features, **arrays)


def _columns(matrix: FeatureMatrix, kept: list[int]) -> FeatureMatrix:
    names = tuple(matrix.names[at] for at in kept)
    return FeatureMatrix(names, f"{matrix.schema_hash}-{len(kept)}", np.ascontiguousarray(matrix.values[:, kept]))
