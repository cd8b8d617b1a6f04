"""Each item a question of its own: watched next, or not."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from foveate.encoder.losses.base import Score
from foveate.encoder.losses.sampled import SampledLoss, SampledLossConfig


class BceLoss(SampledLoss):
    """``-(confidence log s(own) + sum_n log(1 - s(other_n))) / (N + 1)``, with ``s`` the logistic function.

    ``confidence`` is how much the target counts beside one negative.
    """

    def __init__(self, share_I: Tensor, negatives: int, confidence: float = 1.0) -> None:
        super().__init__(share_I, negatives)
        self.confidence = confidence

    def forward(self, user_TD: Tensor, target_T: Tensor, item_ID: Tensor, score: Score) -> Tensor:
        """Return the mean over the rows."""
        own_T, other_TN, negative_N = self.contrast(user_TD, target_T, item_ID, score)
        # log s(x) is -softplus(-x), and stays finite where s does not.
        sum_T = self.confidence * F.softplus(-own_T) + F.softplus(other_TN).sum(dim=1)
        return sum_T.mean() / (len(negative_N) + 1)


@dataclass(frozen=True)
class Bce(SampledLossConfig):
    """Binary cross-entropy of the target and of negatives shared by the batch.

    Source: Kang and McAuley, Self-Attentive Sequential Recommendation (2018), section III-E, with more than one
    negative.

    Parameters
    ----------
    popularity
        Items are drawn in proportion to their count to this power; 0 draws all alike.
    """

    name = "bce"

    def build(self, count_I: Tensor, negatives: int) -> BceLoss:
        """Build the module."""
        return BceLoss(self.shares(count_I, negatives), negatives)
