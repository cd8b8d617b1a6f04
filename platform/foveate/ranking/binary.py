"""A ranker that predicts whether a candidate will be liked, each by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from foveate.ranking.base import Ranker, TrainingSet, check_labelled
from foveate.ranking.boosted import Boosting, Objective
from foveate.ranking.growing import Grower


@dataclass(frozen=True)
class Binary(Boosting):
    """LightGBM with the log loss: the score is the log-odds that the label lies above 0.

    A row counts by the size of its label, and by 1 where it has none: what is liked more, or hidden, counts more.
    Source of that weight: Covington et al., Deep neural networks for YouTube recommendations (2016), section 4.2.
    """

    name: ClassVar[str] = "binary"

    def fit(self, training: TrainingSet, seed: int, grower: Grower | None = None) -> Ranker:
        """Grow the trees.

        Raises
        ------
        TrainingError
            No candidate has a label above 0.
        """
        check_labelled(training)
        size = np.abs(training.labels)
        weights = np.where(size > 0, size, 1.0).astype(np.float32)
        objective = Objective((training.labels > 0).astype(np.int8), {"objective": "binary"}, weights)
        return self.grown(training, objective, seed, grower)
