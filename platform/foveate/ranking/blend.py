"""The plain blends that a ranker has to beat: a mean of z-scores, and a logistic regression on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from foveate.core.messages import FeatureMatrix
from foveate.features.candidate import BLEND
from foveate.ranking.base import Ranker, RankerConfig, TrainingSet, check_labelled, column
from foveate.ranking.growing import Grower

_FILE = "blend.json"


@dataclass(frozen=True)
class ZScoreBlend(RankerConfig):
    """The mean of the sources' z-scores among the candidates; it learns nothing."""

    name: ClassVar[str] = "z_score"

    def fit(self, training: TrainingSet, seed: int, grower: Grower | None = None) -> Ranker:
        """Return the blend; the training set is not read."""
        del training, seed, grower
        return LinearBlend({BLEND: 1.0})

    def restore(self, texts: Mapping[str, str]) -> Ranker:
        """Make the blend again."""
        return LinearBlend(json.loads(texts[_FILE]))


@dataclass(frozen=True)
class LogisticBlend(RankerConfig):
    """A logistic regression on the sources' z-scores of whether the label lies above 0.

    Parameters
    ----------
    l2
        Weight of the squared coefficients, in rows.
    """

    name: ClassVar[str] = "logistic"

    l2: float = 1.0

    def fit(self, training: TrainingSet, seed: int, grower: Grower | None = None) -> Ranker:
        """Fit the weights.

        Raises
        ------
        TrainingError
            No candidate has a label above 0.
        """
        del seed, grower
        check_labelled(training)
        names = [name for name in training.features.names if name.startswith("z.")]
        x_RS = np.stack([column(training.features, name) for name in names], axis=1).astype(np.float64)
        weights = logistic(x_RS, (training.labels > 0).astype(np.float64), self.l2)
        return LinearBlend(dict(zip(names, weights.tolist(), strict=True)))

    def restore(self, texts: Mapping[str, str]) -> Ranker:
        """Make the blend again."""
        return LinearBlend(json.loads(texts[_FILE]))


class LinearBlend(Ranker):
    """A weighted sum of columns."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = dict(weights)

    def score(self, features: FeatureMatrix) -> NDArray[np.float32]:
        """Return the weighted sums."""
        total = np.zeros(len(features.values), dtype=np.float64)
        for name, weight in self.weights.items():
            total += weight * column(features, name)
        return total.astype(np.float32)

    def contributions(self, features: FeatureMatrix) -> NDArray[np.float64]:
        """Return the terms of the weighted sums, which start from 0."""
        out = np.zeros((len(features.values), len(features.names) + 1))
        for name, weight in self.weights.items():
            out[:, features.names.index(name)] = weight * column(features, name).astype(np.float64)
        return out

    def texts(self) -> Mapping[str, str]:
        """Return the weights as JSON."""
        return {_FILE: json.dumps(self.weights)}


def logistic(x_RS: NDArray[np.float64], y_R: NDArray[np.float64], l2: float) -> NDArray[np.float64]:
    """Return the weights of the columns of ``x_RS`` that minimise the log loss of ``y_R``.

    There is an intercept beside them, which ranking does not need and the weights do.
    """
    design = np.concatenate([x_RS, np.ones((len(x_RS), 1))], axis=1)

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = design @ w
        value = float(np.sum(np.logaddexp(0.0, logits) - y_R * logits) + 0.5 * l2 * w[:-1] @ w[:-1])
        slope = design.T @ (expit(logits) - y_R)
        slope[:-1] += l2 * w[:-1]
        return value, slope

    start = np.zeros(design.shape[1])
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x[:-1])
