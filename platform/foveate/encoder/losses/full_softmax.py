"""Cross-entropy over every item: exact, and as costly as the catalogue is long."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from foveate.encoder.embedding.lookup import Lookup
from foveate.encoder.losses.base import Loss, LossConfig, Score


class FullSoftmaxLoss(Loss):
    """Minus the log of the share that the softmax over all items gives the target."""

    def forward(self, user_TD: Tensor, target_T: Tensor, items: Lookup, score: Score) -> Tensor:
        return F.cross_entropy(score(user_TD, items.every()), target_T)


@dataclass(frozen=True)
class FullSoftmax(LossConfig):
    """Cross-entropy over the whole catalogue."""

    name = "full_softmax"
    every_item = True

    def build(self, count_I: Tensor, negatives: int) -> FullSoftmaxLoss:
        del count_I, negatives
        return FullSoftmaxLoss()
