"""The base of tree rankers: settings, training, scoring, explaining.

Shapes: ``N`` candidates, ``R`` rows of all training queries, ``F`` features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from foveate.core.config import LARGEST_SEED
from foveate.core.errors import ConfigError
from foveate.core.messages import FeatureMatrix
from foveate.core.space import Choice, IntRange, LogUniform, Space
from foveate.features.candidate import BLEND
from foveate.ranking.base import Ranker, RankerConfig, TrainingSet, column
from foveate.ranking.growing import Grower, Parameters, Rows, grow, text_of
from foveate.ranking.trees import Trees


@dataclass(frozen=True)
class Objective:
    """What trees are grown for.

    Parameters
    ----------
    labels, weights
        ``[R]`` what a row should come to, and how much it counts; None counts all alike.
    parameters
        LightGBM's own, its objective among them.
    """

    labels: NDArray[np.floating] | NDArray[np.integer]
    parameters: Mapping[str, Any]
    weights: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Boosting(RankerConfig):
    """Base of the rankers that LightGBM grows, averaged over a few seeds.

    Small data calls for small trees: few leaves, many rows a leaf, a sample of rows and columns a tree.

    Parameters
    ----------
    trees, leaves, learning_rate, min_rows, l2
        Number of trees, leaves a tree, shrinkage, least rows a leaf, weight of the squared leaf values.
    column_share, row_share
        Share of the columns and of the queries that a tree sees.
    blend_weight
        The trees correct this much of the sources' blend; at 0 they start from nothing.
    members
        How many models are averaged, each grown from a seed of its own.
    threads
        Threads that LightGBM uses. Its threads wait for each other at every split: a second one pays on idle cores
        alone, and on a busy machine it costs many times what it brings.
    workers
        How many processes grow the trees together over Ray, each from whole queries of its own and with ``threads``
        CPUs: for training sets beyond what one machine works through. At 0 this process grows them by itself.
    """

    trees: int = 120
    leaves: int = 15
    learning_rate: float = 0.05
    min_rows: int = 50
    l2: float = 10.0
    column_share: float = 0.5
    row_share: float = 0.7
    blend_weight: float = 0.0
    members: int = 3
    threads: int = 1
    workers: int = 0

    def __post_init__(self) -> None:
        if min(self.trees, self.members, self.threads, self.min_rows) < 1 or self.leaves < 2:
            raise ConfigError("trees, members, threads and min_rows must be 1 or more, leaves 2 or more")
        if not (0 < self.column_share <= 1 and 0 < self.row_share <= 1):
            raise ConfigError("column_share and row_share must be above 0 and at most 1")
        if self.workers < 0:
            raise ConfigError(f"workers must be 0 or more, got {self.workers}")

    @classmethod
    def search_space(cls) -> Space:
        return {
            "trees": IntRange(50, 400),
            "leaves": IntRange(4, 31),
            "learning_rate": LogUniform(0.02, 0.1),
            "min_rows": IntRange(20, 200),
            "members": Choice((1, 2, 3)),
        }

    def grown(self, training: TrainingSet, objective: Objective, seed: int, grower: Grower | None) -> BoostedRanker:
        """Grow every member, in this process or, with ``workers``, by ``grower``."""
        start = self.blend_weight * column(training.features, BLEND).astype(np.float64) if self.blend_weight else None
        names = training.features.names
        rows = Rows(training.features.values, names, objective.labels, training.groups, objective.weights, start)
        # LightGBM takes seeds below 2**31.
        seeds = [own % (LARGEST_SEED + 1) for own in range(seed * self.members, (seed + 1) * self.members)]
        members = [{**objective.parameters, **self._parameters(own)} for own in seeds]
        return BoostedRanker(self._boosters(rows, members, grower), names, self.blend_weight)

    def restore(self, texts: Mapping[str, str]) -> Ranker:
        """Make the ranker again from LightGBM's own texts."""
        boosters = [lgb.Booster(model_str=texts[name]) for name in sorted(texts)]
        return BoostedRanker(boosters, tuple(boosters[0].feature_name()), self.blend_weight)

    def _boosters(self, rows: Rows, members: Sequence[Parameters], grower: Grower | None) -> list[lgb.Booster]:
        if not self.workers:
            return [grow(rows, parameters, self.trees) for parameters in members]
        if grower is None:
            raise ConfigError(
                f"ranker.workers: {self.workers} grow trees over Ray, which this cannot: set it to 0, or use "
                "'foveate train' or 'foveate evaluate'"
            )
        texts = grower(rows, members, trees=self.trees, workers=self.workers)
        return [lgb.Booster(model_str=text) for text in texts]

    def _parameters(self, seed: int) -> dict[str, Any]:
        return {
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.min_rows,
            "lambda_l2": self.l2,
            "feature_fraction": self.column_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "bagging_by_query": True,
            "seed": seed,
            "num_threads": self.threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


class BoostedRanker(Ranker):
    """The mean of one or more boosters, on top of the blend they started from."""

    def __init__(self, boosters: Sequence[lgb.Booster], names: tuple[str, ...], blend_weight: float) -> None:
        self.boosters, self.names, self.blend_weight = tuple(boosters), names, blend_weight

    @cached_property
    def _trees(self) -> Trees | None:
        return Trees.of(self.boosters)

    def score(self, features: FeatureMatrix) -> NDArray[np.float32]:
        """Return the mean of the members' answers.

        Raises
        ------
        ConfigError
            The columns are not those that the ranker was trained on.
        """
        self._check(features)
        if not len(features.values):
            return np.empty(0, dtype=np.float32)
        scores_N = self._sums(features.values) / len(self.boosters)
        if self.blend_weight:
            scores_N = scores_N + self.blend_weight * column(features, BLEND)
        return scores_N.astype(np.float32)

    def contributions(self, features: FeatureMatrix) -> NDArray[np.float64]:
        """Return the mean of the members' Shapley values over their trees, with the blend they started from.

        Source: Lundberg et al., From local explanations to global understanding with explainable AI for trees (2020),
        algorithm 2, as LightGBM computes it.

        Raises
        ------
        ConfigError
            The columns are not those that the ranker was trained on.
        """
        self._check(features)
        out = np.zeros((len(features.values), len(self.names) + 1))
        if not len(out):
            return out
        for booster in self.boosters:
            out += booster.predict(features.values, pred_contrib=True, num_threads=1)
        out /= len(self.boosters)
        if self.blend_weight:
            out[:, self.names.index(BLEND)] += self.blend_weight * column(features, BLEND)
        return out

    def _check(self, features: FeatureMatrix) -> None:
        if features.names != self.names:
            raise ConfigError("the feature columns are not those that the ranker was trained on: train again")

    def _sums(self, values_NF: NDArray[np.float32]) -> NDArray[np.float64]:
        if self._trees is not None and np.isfinite(values_NF).all():
            return self._trees.sums(values_NF)
        walked = [booster.predict(values_NF, raw_score=True, num_threads=1) for booster in self.boosters]
        return np.asarray(np.sum(walked, axis=0), dtype=np.float64)

    def texts(self) -> Mapping[str, str]:
        """Return each member as LightGBM's own text."""
        return {f"member-{i:02d}.txt": text_of(booster) for i, booster in enumerate(self.boosters)}
