"""Auxiliary task: the share of the next video that a viewer watches."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from foveate.encoder.auxiliaries.base import Auxiliary, AuxiliaryConfig, PairPredictor, Step, masked_mean


class WatchTimeTask(Auxiliary):
    """Cross-entropy between the watched share of the next item, at most all of it, and what is foretold.

    A share stands for a coin that falls so often: the best answer is the expected share.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.predict = PairPredictor(width)

    def forward(self, step: Step) -> Tensor:
        """Return the mean over the rows whose watched share is known."""
        share_T = step.batch.events.watched_N[step.next_T]
        said_T = self.predict(step.user_TD, step.items.of(step.target_T))
        wrong_T = F.binary_cross_entropy_with_logits(said_T, share_T.nan_to_num().clamp(0, 1), reduction="none")
        return masked_mean(wrong_T, ~share_T.isnan())


@dataclass(frozen=True)
class WatchTime(AuxiliaryConfig):
    """Foretell the share of the next video that is watched; rows where it is not known do not count."""

    name = "watch_time"

    def build(self, width: int) -> WatchTimeTask:
        return WatchTimeTask(width)
