"""Cross-entropy over the target and a few items drawn for the whole batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from foveate.core.space import Choice, Space
from foveate.encoder.embedding.lookup import Lookup
from foveate.encoder.losses.base import Score
from foveate.encoder.losses.sampled import SampledLoss, SampledLossConfig


class SampledSoftmaxLoss(SampledLoss):
    """Minus the log of the target's share in a softmax over it and the negatives."""

    def __init__(self, share_I: Tensor, negatives: int, *, log_q: bool) -> None:
        super().__init__(share_I, negatives)
        self.log_q = log_q

    def forward(self, user_TD: Tensor, target_T: Tensor, items: Lookup, score: Score) -> Tensor:
        own_T, other_TN, negative_N = self.contrast(user_TD, target_T, items, score)
        if self.log_q:
            # A negative stands for the 1 / (N q) items like it, and so its score is raised by the log of that.
            other_TN = other_TN - (self.share_I[negative_N] * len(negative_N)).log()
        return (torch.logaddexp(other_TN.logsumexp(dim=1), own_T) - own_T).mean()


@dataclass(frozen=True)
class SampledSoftmax(SampledLossConfig):
    """Softmax over the target and negatives shared by the batch, drawn without repeats.

    Parameters
    ----------
    popularity
        Items are drawn in proportion to their count to this power; 0 draws all alike.
    log_q
        Whether scores of negatives are corrected for how they were drawn (Bengio and Senecal, 2008, section 3), which
        makes the loss an estimate of the full softmax.
    """

    name = "sampled_softmax"

    log_q: bool = False

    def build(self, count_I: Tensor, negatives: int) -> SampledSoftmaxLoss:
        return SampledSoftmaxLoss(self.shares(count_I, negatives), negatives, log_q=self.log_q)

    @classmethod
    def search_space(cls) -> Space:
        return {**super().search_space(), "log_q": Choice((False, True))}
