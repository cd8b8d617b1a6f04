"""The ranker's training set: what sources fitted before a window retrieved for it, and what came of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foveate.data.catalog import Catalog
from foveate.data.queries import queries_of
from foveate.data.split import Stage, Targets
from foveate.errors import TrainingError
from foveate.features.sets import FeatureSet
from foveate.messages import Candidates, FeatureMatrix, Query
from foveate.ranking.base import LabelDraw, TrainingSet
from foveate.retrieval.base import CandidateSource
from foveate.retrieval.merge import gather

BATCH = 256
"""Queries whose scores of the whole catalogue are held at once."""


@dataclass(frozen=True)
class LabelWindow:
    """A stage with the sources and the features that learned from its history alone."""

    stage: Stage
    sources: Sequence[CandidateSource]
    features: FeatureSet

    def candidates(self, queries: Sequence[Query], counts: Sequence[int]) -> list[Candidates]:
        """Ask the window's sources for so many items each."""
        return gather(self.sources, queries, counts)


def training_set(
    windows: Sequence[LabelWindow], catalog: Catalog, counts: Sequence[int], draw: LabelDraw, seed: int
) -> TrainingSet:
    """Retrieve, build the features and label, window by window.

    Parameters
    ----------
    windows
        Oldest first.
    counts
        How many items each source offers.
    draw
        How many viewers and negatives are kept.

    Raises
    ------
    TrainingError
        No source retrieved anything that a viewer went on to like.
    """
    parts = [_window_rows(window, catalog, counts, draw, np.random.default_rng(seed)) for window in windows]
    matrices = [matrix for part in parts for matrix, _ in part]
    labels = [label for part in parts for _, label in part]
    if not matrices:
        raise TrainingError(
            "no candidate of the ranker's window was liked: widen the split, raise candidates, or add a source"
        )
    first = matrices[0]
    return TrainingSet(
        features=FeatureMatrix(first.names, first.schema_hash, np.concatenate([m.values for m in matrices])),
        labels=np.concatenate(labels),
        groups=np.array([len(label) for label in labels], dtype=np.int64),
        windows=np.repeat(np.arange(len(parts)), [len(part) for part in parts]).astype(np.int64),
    )


def _window_rows(
    window: LabelWindow, catalog: Catalog, counts: Sequence[int], draw: LabelDraw, rng: np.random.Generator
) -> list[tuple[FeatureMatrix, NDArray[np.int8]]]:
    """Return features and labels of every viewer of the window for whom a target was retrieved."""
    stage = window.stage
    users = drawn_viewers(stage, draw, rng)
    rows: list[tuple[FeatureMatrix, NDArray[np.int8]]] = []
    for start in range(0, len(users), BATCH):
        batch = users[start : start + BATCH]
        queries = queries_of(stage.history, batch, catalog, stage.now)
        found = window.candidates(queries, counts)
        labels = [_labels(candidates, stage.targets, user) for candidates, user in zip(found, batch, strict=True)]
        told = [i for i, label in enumerate(labels) if label.any()]
        matrices = window.features.build([queries[i] for i in told], [found[i] for i in told])
        rows += [_drawn(m, labels[i], draw.negatives, rng) for m, i in zip(matrices, told, strict=True)]
    return rows


def drawn_viewers(stage: Stage, draw: LabelDraw, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return the viewers of a window that a ranker learns from, in ascending order: the first thing that is drawn."""
    users = stage.targets.users()
    if len(users) > draw.queries:
        users = np.sort(rng.choice(users, draw.queries, replace=False))
    return users


def _labels(candidates: Candidates, targets: Targets, user: np.int32) -> NDArray[np.int8]:
    return np.isin(candidates.items, targets.of(int(user))).astype(np.int8)


def _drawn(
    matrix: FeatureMatrix, labels: NDArray[np.int8], negatives: int, rng: np.random.Generator
) -> tuple[FeatureMatrix, NDArray[np.int8]]:
    """Keep every label, and a draw of the other candidates."""
    others = np.flatnonzero(labels == 0)
    if not negatives or len(others) <= negatives:
        return matrix, labels
    rows = np.sort(np.concatenate([np.flatnonzero(labels), rng.choice(others, negatives, replace=False)]))
    return replace(matrix, values=matrix.values[rows]), labels[rows]
