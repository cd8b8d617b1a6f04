"""A logistic regression on every column: the plain model that trees have to beat, and that they profit from beside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.core.messages import FeatureMatrix
from foveate.core.space import LogUniform, Space
from foveate.ranking.base import Ranker, RankerConfig, TrainingSet, check_labelled
from foveate.ranking.blend import logistic
from foveate.ranking.growing import Grower

_FILE = "linear.json"


@dataclass(frozen=True)
class Linear(RankerConfig):
    """A logistic regression of whether the label lies above 0, on all columns brought to mean 0 and deviation 1.

    Parameters
    ----------
    l2
        Weight of the squared coefficients, in rows.
    """

    name: ClassVar[str] = "linear"

    l2: float = 10.0

    def __post_init__(self) -> None:
        if self.l2 < 0:
            raise ConfigError(f"l2 must be 0 or more, got {self.l2}")

    def fit(self, training: TrainingSet, seed: int, grower: Grower | None = None) -> Ranker:
        """Fit the weights.

        Raises
        ------
        TrainingError
            No candidate has a label above 0.
        """
        del seed, grower
        check_labelled(training)
        rows = training.features.values.astype(np.float64)
        mean_F, deviation_F = rows.mean(axis=0), rows.std(axis=0)
        # A column that never changes says nothing.
        scale_F = np.where(deviation_F > 1e-6 * np.maximum(np.abs(mean_F), 1e-6), deviation_F, np.inf)
        weight_F = logistic((rows - mean_F) / scale_F, (training.labels > 0).astype(np.float64), self.l2) / scale_F
        return LinearRanker(training.features.names, weight_F, mean_F)

    def restore(self, texts: Mapping[str, str]) -> Ranker:
        """Make the ranker again from its text."""
        stored = json.loads(texts[_FILE])
        return LinearRanker(tuple(stored["names"]), np.array(stored["weights"]), np.array(stored["means"]))

    @classmethod
    def search_space(cls) -> Space:
        return {"l2": LogUniform(1.0, 1000.0)}


class LinearRanker(Ranker):
    """A weighted sum of columns, each counted from its mean.

    Parameters
    ----------
    names
        ``F`` columns.
    weight_F, mean_F
        float64.
    """

    def __init__(self, names: tuple[str, ...], weight_F: NDArray[np.float64], mean_F: NDArray[np.float64]) -> None:
        self.names, self.weight_F, self.mean_F = names, weight_F, mean_F

    def score(self, features: FeatureMatrix) -> NDArray[np.float32]:
        """Return the weighted sums.

        Raises
        ------
        ConfigError
            The columns are not those that the ranker was trained on.
        """
        return np.asarray(self._terms(features).sum(axis=1), dtype=np.float32)

    def contributions(self, features: FeatureMatrix) -> NDArray[np.float64]:
        """Return the terms of the weighted sums, which start from 0."""
        return np.concatenate([self._terms(features), np.zeros((len(features.values), 1))], axis=1)

    def texts(self) -> Mapping[str, str]:
        """Return the weights as JSON."""
        stored = {"names": self.names, "weights": self.weight_F.tolist(), "means": self.mean_F.tolist()}
        return {_FILE: json.dumps(stored)}

    def _terms(self, features: FeatureMatrix) -> NDArray[np.float64]:
        if features.names != self.names:
            raise ConfigError("the feature columns are not those that the ranker was trained on: train again")
        terms: NDArray[np.float64] = (features.values - self.mean_F) * self.weight_F
        return terms
