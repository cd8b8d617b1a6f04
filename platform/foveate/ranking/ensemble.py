"""Several rankers whose scores are added up: what one has wrong, another often has not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.core.messages import FeatureMatrix
from foveate.ranking.base import Ranker, RankerConfig, TrainingSet
from foveate.ranking.blend import LogisticBlend
from foveate.ranking.growing import Grower
from foveate.ranking.lambdarank import LambdaRank
from foveate.ranking.linear import Linear

_FILE = "ensemble.json"


def _members() -> tuple[RankerConfig, ...]:
    return (LambdaRank(), Linear(), LogisticBlend())


@dataclass(frozen=True)
class Ensemble(RankerConfig):
    """The sum of several rankers' scores, each over its deviation within the queries that it was trained on.

    Source: Burges et al., Learning to rank using an ensemble of lambda-gradient models (2011), section 3, there with
    weights that are learned; equal ones have nothing to learn wrong.

    Parameters
    ----------
    rankers
        Two or more, which may be of one kind.
    """

    name: ClassVar[str] = "ensemble"

    rankers: tuple[RankerConfig, ...] = field(default_factory=_members)

    def __post_init__(self) -> None:
        if len(self.rankers) < 2:
            raise ConfigError(f"an ensemble needs two rankers or more, got {len(self.rankers)}")

    def fit(self, training: TrainingSet, seed: int, grower: Grower | None = None) -> Ranker:
        """Fit every ranker on the same candidates.

        Raises
        ------
        TrainingError
            One of them has nothing to learn from.
        """
        return joined([config.fit(training, seed, grower) for config in self.rankers], training)

    def restore(self, texts: Mapping[str, str]) -> Ranker:
        """Make the rankers again from their texts."""
        members = []
        for place, config in enumerate(self.rankers):
            own = f"{place}-"
            members.append(
                config.restore({name.removeprefix(own): text for name, text in texts.items() if name.startswith(own)})
            )
        return EnsembleRanker(members, json.loads(texts[_FILE]))


class EnsembleRanker(Ranker):
    """The weighted sum of what several rankers say."""

    def __init__(self, members: Sequence[Ranker], weights: Sequence[float]) -> None:
        self.members, self.weights = tuple(members), tuple(weights)

    def score(self, features: FeatureMatrix) -> NDArray[np.float32]:
        """Return the sums.

        Raises
        ------
        ConfigError
            The columns are not those that the rankers were trained on.
        """
        total_N = np.zeros(len(features.values))
        for member, weight in zip(self.members, self.weights, strict=True):
            total_N += weight * member.score(features)
        return total_N.astype(np.float32)

    def contributions(self, features: FeatureMatrix) -> NDArray[np.float64]:
        """Return the sums of what each ranker says of its columns."""
        own = [w * member.contributions(features) for member, w in zip(self.members, self.weights, strict=True)]
        return np.asarray(np.sum(own, axis=0), dtype=np.float64)

    def texts(self) -> Mapping[str, str]:
        """Return the texts of every ranker, and the weights as JSON."""
        own = {
            f"{place}-{name}": text
            for place, member in enumerate(self.members)
            for name, text in member.texts().items()
        }
        return {**own, _FILE: json.dumps(self.weights)}


def joined(members: Sequence[Ranker], training: TrainingSet) -> EnsembleRanker:
    """Return the ensemble of rankers that were fitted on a training set."""
    deviations = [_deviation(member.score(training.features), training.groups) for member in members]
    return EnsembleRanker(members, [1.0 / deviation if deviation > 0 else 0.0 for deviation in deviations])


def _deviation(scores_R: NDArray[np.float32], groups_Q: NDArray[np.int64]) -> float:
    """Return the deviation of scores from the mean of their query: only what lies within one orders anything."""
    query_R = np.repeat(np.arange(len(groups_Q)), groups_Q)
    mean_Q = np.bincount(query_R, scores_R, minlength=len(groups_Q)) / np.maximum(groups_Q, 1)
    return float(np.sqrt(np.mean((scores_R - mean_Q[query_R]) ** 2)))
