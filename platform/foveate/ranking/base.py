"""The seam of the rankers.

Shapes: ``N`` candidates, ``F`` features, ``R`` rows of all training queries, ``Q`` training queries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError, TrainingError
from foveate.core.messages import FeatureMatrix
from foveate.core.registry import Registry, Variant
from foveate.ranking.growing import Grower


@dataclass(frozen=True)
class LabelDraw:
    """How much of the label windows a ranker learns from.

    Parameters
    ----------
    queries
        Viewers drawn from a window that has more.
    negatives
        Candidates without a label drawn for each of them; 0 takes all. An even draw keeps the easy ones, without which
        a ranker unlearns what the sources know.
    """

    queries: int = 5000
    negatives: int = 50

    def __post_init__(self) -> None:
        if self.queries < 1 or self.negatives < 0:
            raise ConfigError("queries must be 1 or more, and negatives 0 or more")


@dataclass(frozen=True)
class TrainingSet:
    """Candidates of past moments with what came of them; the rows of one query lie together.

    Parameters
    ----------
    features
        ``[R, F]`` and the names of its columns.
    labels
        ``[R]`` float32: above 0 for what the viewer went on to like, and the more the better; 0 for the candidates that
        nothing came of; below 0 for what they turned from.
    groups
        ``[Q]`` int64: how many rows each query has.
    windows
        ``[Q]`` int64: which label window each query is from, 0 the oldest.
    signals
        ``[R]`` float32 by name: what the labels are the sum of; see :class:`foveate.ranking.labels.Labels`.
    weights
        What each of the signals weighs in that sum.
    """

    features: FeatureMatrix
    labels: NDArray[np.float32]
    groups: NDArray[np.int64]
    windows: NDArray[np.int64]
    signals: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)


class Ranker(ABC):
    """A fitted ranker."""

    @abstractmethod
    def score(self, features: FeatureMatrix) -> NDArray[np.float32]:
        """Return ``[N]`` scores, higher is better; a row's score does not depend on the other rows."""

    @abstractmethod
    def contributions(self, features: FeatureMatrix) -> NDArray[np.float64]:
        """Return ``[N, F + 1]``: what each column adds to each score, and last what every score starts from.

        A row adds up to the score.
        """

    @abstractmethod
    def texts(self) -> Mapping[str, str]:
        """Return what ``RankerConfig.restore`` needs, as texts by file name."""


class RankerConfig(Variant):
    """Base of the rankers' frozen configs; each file of this package that defines one adds a ranker."""

    variants: ClassVar[Registry[RankerConfig]]

    def fit(self, training: TrainingSet, seed: int, grower: Grower | None = None) -> Ranker:
        """Learn to order candidates.

        Parameters
        ----------
        grower
            Grows trees elsewhere, for a config that asks for several workers; None has none to ask.

        Raises
        ------
        TrainingError
            There is nothing to learn from.
        ConfigError
            The config asks for workers, and there is no grower.
        """
        raise NotImplementedError

    def restore(self, texts: Mapping[str, str]) -> Ranker:
        """Make the ranker again from its texts."""
        raise NotImplementedError


RankerConfig.variants = Registry("ranker", RankerConfig, "foveate.ranking")


def check_labelled(training: TrainingSet) -> None:
    """Refuse a training set in which nothing is better than anything else.

    Raises
    ------
    TrainingError
        No candidate has a label above 0.
    """
    if not (training.labels > 0).any():
        raise TrainingError("no candidate of the ranker's window was liked: widen the window or the candidates")


def column(features: FeatureMatrix, name: str) -> NDArray[np.float32]:
    """Return one column by name.

    Raises
    ------
    ConfigError
        There is no such column.
    """
    if name not in features.names:
        raise ConfigError(f"the features hold no column '{name}'. Known: {', '.join(features.names)}.")
    return features.values[:, features.names.index(name)]


def score_each(ranker: Ranker, matrices: Sequence[FeatureMatrix]) -> list[NDArray[np.float32]]:
    """Score several queries' candidates in one call, for a call costs more than a query's rows do."""
    if not matrices:
        return []
    first = matrices[0]
    joined = FeatureMatrix(first.names, first.schema_hash, np.concatenate([m.values for m in matrices]))
    return np.split(ranker.score(joined), np.cumsum([len(m.values) for m in matrices])[:-1])


def best_first(scores_N: NDArray[np.float32], items_N: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return positions from best to worst: ties by item code, and a score that is not finite below every finite one."""
    sinking = np.where(np.isfinite(scores_N), scores_N, -np.inf)
    return np.lexsort((items_N, -sinking)).astype(np.int64)
