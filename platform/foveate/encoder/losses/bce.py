"""Each item a question of its own: watched next, or not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveate.encoder.embedding.lookup import Lookup
from foveate.encoder.losses.base import Score
from foveate.encoder.losses.sampled import SampledLoss, SampledLossConfig


class BceLoss(SampledLoss):
    """``-confidence log s(own + b) - sum_n log(1 - s(other_n + b))``, with ``s`` the logistic function.

    ``confidence`` is how much the target counts beside one negative. The offset ``b`` is learned and changes no order.
    It starts where one of the items that are scored is expected to be the one: scores of fresh vectors are near zero
    and so give every item even odds, and vectors take many epochs to unlearn that without it.
    """

    def __init__(self, share_I: Tensor, negatives: int, confidence: float = 1.0) -> None:
        super().__init__(share_I, negatives)
        self.confidence = confidence
        self.offset = nn.Parameter(torch.tensor(-math.log(self.negatives + 1)))

    def forward(self, user_TD: Tensor, target_T: Tensor, items: Lookup, score: Score) -> Tensor:
        own_T, other_TN, _ = self.contrast(user_TD, target_T, items, score)
        # log s(x) is -softplus(-x), and stays finite where s does not.
        return (
            self.confidence * F.softplus(-own_T - self.offset) + F.softplus(other_TN + self.offset).sum(dim=1)
        ).mean()


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
        return BceLoss(self.shares(count_I, negatives), negatives)
