"""The re-ranker: gradient-boosted trees that learn to order each query's candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError, TrainingError
from foveate.ranking.base import Ranker, TrainingSet, check_labelled
from foveate.ranking.boosted import Boosting, Objective
from foveate.ranking.growing import Grower

_STEPS = 100
"""Labels of more distinct values than this are rounded to so many steps."""

_MOST_ROWS = 10_000
"""Rows of one query that LightGBM takes, at most."""


@dataclass(frozen=True)
class LambdaRank(Boosting):
    """LightGBM with the LambdaRank objective: pairs count by what swapping them would do to the query's NDCG.

    A candidate's gain is its label; where labels lie below 0, gains are counted from the lowest.
    Source: Burges, From RankNet to LambdaRank to LambdaMART: an overview (2010), section 7.

    Parameters
    ----------
    truncation
        Pairs count where one of them stands among the first so many.
    """

    name: ClassVar[str] = "lambdarank"

    truncation: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.truncation < 1:
            raise ConfigError("truncation must be 1 or more")

    def fit(self, training: TrainingSet, seed: int, grower: Grower | None = None) -> Ranker:
        """Grow the trees.

        Raises
        ------
        TrainingError
            No candidate has a label above 0, or a viewer has more candidates than LightGBM compares.
        """
        check_labelled(training)
        most = int(training.groups.max())
        if most > _MOST_ROWS:
            remedy = "lower candidates or offers, or keep fewer with label_draw.negatives=1000"
            raise TrainingError(
                f"a viewer has {most:,} candidates, and lambdarank compares {_MOST_ROWS:,} at most: {remedy}"
            )
        levels, gains = levels_of(training.labels)
        parameters = {
            "objective": "lambdarank",
            "lambdarank_truncation_level": self.truncation,
            "label_gain": gains.tolist(),
        }
        return self.grown(training, Objective(levels, parameters), seed, grower)


def levels_of(labels_R: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return ``[R]`` which of the distinct labels each is, from the lowest, and the gain of each, none below 0.

    LightGBM takes whole numbers as labels and a gain for each of them.
    """
    values = labels_R.astype(np.float64)
    if len(np.unique(values)) > _STEPS:
        # 0 stays exactly 0: it is what most rows are.
        step = np.ptp(values) / _STEPS
        values = np.rint(values / step) * step
    gains, levels = np.unique(values, return_inverse=True)
    return levels.astype(np.int32), gains - min(0.0, gains[0])
