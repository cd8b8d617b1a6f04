"""Cross-entropy over the target and a few items drawn for the whole batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from foveate.encoder.losses.base import Loss, LossConfig, Score
from foveate.space import Choice, Space


class SampledSoftmaxLoss(Loss):
    """Softmax over the target and negatives that all rows share, so that scoring them is one matrix product."""

    share_I: Tensor
    """How likely each item is in one draw."""

    def __init__(self, share_I: Tensor, negatives: int, *, log_q: bool) -> None:
        super().__init__()
        self.register_buffer("share_I", share_I)
        self.negatives = min(negatives, len(share_I))
        self.log_q = log_q

    def forward(self, user_TD: Tensor, target_T: Tensor, item_ID: Tensor, score: Score) -> Tensor:
        """Return the mean over the rows."""
        negative_N = self._draw()
        # One look-up for both: its gradient is as large as the whole table.
        target_TD, negative_ND = F.embedding(torch.cat((target_T, negative_N)), item_ID).split_with_sizes(
            [len(target_T), len(negative_N)]
        )
        own_T = score(user_TD, target_TD[:, None])[:, 0]
        others_TN = score(user_TD, negative_ND)
        if self.log_q:
            # A negative stands for the 1 / (N q) items like it, and so its score is raised by the log of that.
            others_TN = others_TN - (self.share_I[negative_N] * len(negative_N)).log()
        row, column = self._hits(target_T, negative_N)
        others_TN = others_TN.index_put((row, column), others_TN.new_tensor(float("-inf")))
        return (torch.logaddexp(others_TN.logsumexp(dim=1), own_T) - own_T).mean()

    def _draw(self) -> Tensor:
        if self.negatives == len(self.share_I):
            return torch.arange(self.negatives, device=self.share_I.device)
        return torch.multinomial(self.share_I, self.negatives)

    def _hits(self, target_T: Tensor, negative_N: Tensor) -> tuple[Tensor, Tensor]:
        """Return where a row's target was drawn as a negative: it must not stand against itself."""
        place_I = torch.full((len(self.share_I),), -1, dtype=torch.long, device=target_T.device)
        place_I[negative_N] = torch.arange(len(negative_N), device=target_T.device)
        place_T = place_I[target_T]
        row = (place_T >= 0).nonzero()[:, 0]
        return row, place_T[row]


@dataclass(frozen=True)
class SampledSoftmax(LossConfig):
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

    popularity: float = 0.0
    log_q: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.popularity <= 1:
            raise ValueError(f"popularity must lie between 0 and 1, got {self.popularity}")

    def build(self, count_I: Tensor, negatives: int) -> SampledSoftmaxLoss:
        """Build the module."""
        if negatives < 1:
            raise ValueError("sampled_softmax needs negatives of 1 or more")
        share_I = count_I.clamp(min=1.0) ** self.popularity
        return SampledSoftmaxLoss(share_I / share_I.sum(), negatives, log_q=self.log_q)

    @classmethod
    def search_space(cls) -> Space:
        """Return the settings worth sweeping."""
        return {"popularity": Choice((0.0, 0.5)), "log_q": Choice((False, True))}
