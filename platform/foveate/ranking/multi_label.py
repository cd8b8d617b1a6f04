"""A ranker of several labels: one model predicts each, and a blend of what they say orders the candidates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import FeatureMatrix
from foveate.ranking.base import Ranker, TrainingSet, check_labelled
from foveate.ranking.boosted import Boosting, Objective
from foveate.ranking.growing import Grower

_FILE = "weights.json"


@dataclass(frozen=True)
class MultiLabel(Boosting):
    """A model for each signal that the recipe's labels weigh, blended by those weights.

    Each predicts the log-odds of its signal by cross-entropy, where a signal between 0 and 1 (how long was watched) is
    the share of times that it happens. The score is the weighted sum of the log-odds: a product of odds, each to the
    power of its weight, so that a rare signal has as much say as a frequent one of the same weight. A signal that never
    happened has no model; one that weighs less than 0, such as ``hide``, lowers the score of what is likely to get it.
    """

    name: ClassVar[str] = "multi_label"

    def fit(self, training: TrainingSet, seed: int, grower: Grower | None = None) -> Ranker:
        """Grow the trees of every signal.

        Raises
        ------
        TrainingError
            No candidate has a label above 0.
        """
        check_labelled(training)
        parts = {}
        for name, signal_R in training.signals.items():
            share_R = np.clip(signal_R, 0.0, 1.0)
            if share_R.any() and training.weights[name]:
                objective = Objective(share_R, {"objective": "cross_entropy"})
                parts[name] = (training.weights[name], self.grown(training, objective, seed, grower))
        return BlendedRanker(parts)

    def restore(self, texts: Mapping[str, str]) -> Ranker:
        """Make the models again."""
        weights: dict[str, float] = json.loads(texts[_FILE])
        restore = super().restore
        return BlendedRanker({name: (weight, restore(_of(name, texts))) for name, weight in weights.items()})


class BlendedRanker(Ranker):
    """A weighted sum of rankers, by the name of their signal."""

    def __init__(self, parts: Mapping[str, tuple[float, Ranker]]) -> None:
        self.parts = dict(parts)

    def score(self, features: FeatureMatrix) -> NDArray[np.float32]:
        """Return the weighted sum of what the members say."""
        total_N = np.zeros(len(features.values))
        for weight, ranker in self.parts.values():
            total_N += weight * ranker.score(features)
        return total_N.astype(np.float32)

    def contributions(self, features: FeatureMatrix) -> NDArray[np.float64]:
        """Return the weighted sums of the members' contributions."""
        out = np.zeros((len(features.values), len(features.names) + 1))
        for weight, ranker in self.parts.values():
            out += weight * ranker.contributions(features)
        return out

    def texts(self) -> Mapping[str, str]:
        """Return the members' texts and their weights."""
        weights = {name: weight for name, (weight, _) in self.parts.items()}
        own = {
            f"{name}-{file}": text for name, (_, ranker) in self.parts.items() for file, text in ranker.texts().items()
        }
        return {_FILE: json.dumps(weights), **own}


def _of(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    return {file: text for file, text in texts.items() if file.startswith(f"{name}-member-")}
