"""Sampling of negatives, shared by losses that contrast the targets with a few items drawn for the whole batch.

Legend of tensor names: as in :mod:`foveate.encoder.losses.base`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from foveate.core.space import Choice, Space
from foveate.encoder.embedding.lookup import Lookup
from foveate.encoder.losses.base import Loss, LossConfig, Score

_MULTINOMIAL = 2**24
"""Items that ``torch.multinomial`` can draw from, at most."""


class Contrast(NamedTuple):
    """The scores of one step.

    Parameters
    ----------
    own_T
        Of each row's target.
    other_TN
        Of the negatives; minus infinity where the negative is the row's own target.
    negative_N
        The negatives' item codes.
    """

    own_T: Tensor
    other_TN: Tensor
    negative_N: Tensor


class SampledLoss(Loss):
    """Draws negatives that all rows share, so that scoring them is one matrix product.

    Parameters
    ----------
    share_I
        How likely each item is in one draw.
    negatives
        How many are drawn without repeats; the catalogue's size or more takes every item.
    """

    share_I: Tensor

    def __init__(self, share_I: Tensor, negatives: int) -> None:
        super().__init__()
        self.register_buffer("share_I", share_I)
        self.negatives = min(negatives, len(share_I))

    def contrast(self, user_TD: Tensor, target_T: Tensor, items: Lookup, score: Score) -> Contrast:
        """Draw negatives, and score targets and negatives."""
        negative_N = self.draw()
        # One look-up for both: its gradient is as large as the whole table.
        target_TD, negative_ND = items.of(torch.cat((target_T, negative_N))).split_with_sizes(
            [len(target_T), len(negative_N)]
        )
        # A sum over many items needs float32, whatever the scores were computed in.
        own_T = score(user_TD, target_TD[:, None])[:, 0].float()
        other_TN = score(user_TD, negative_ND).float()
        shut = other_TN.new_tensor(float("-inf"))
        return Contrast(own_T, other_TN.index_put(self._hits(target_T, negative_N), shut), negative_N)

    def draw(self) -> Tensor:
        """Return the item codes of one step's negatives."""
        if self.negatives == len(self.share_I):
            return torch.arange(self.negatives, device=self.share_I.device)
        if len(self.share_I) <= _MULTINOMIAL:
            return torch.multinomial(self.share_I, self.negatives)
        # What comes first of waits that are exponential, each at the rate of its share (Efraimidis and Spirakis,
        # Weighted random sampling with a reservoir, 2006), as torch itself draws from fewer.
        wait_I = torch.empty_like(self.share_I).exponential_() / self.share_I
        return wait_I.topk(self.negatives, largest=False).indices

    def _hits(self, target_T: Tensor, negative_N: Tensor) -> tuple[Tensor, Tensor]:
        """Return where a row's target was drawn as a negative: it must not stand against itself."""
        place_I = torch.full((len(self.share_I),), -1, dtype=torch.long, device=target_T.device)
        place_I[negative_N] = torch.arange(len(negative_N), device=target_T.device)
        place_T = place_I[target_T]
        row = (place_T >= 0).nonzero()[:, 0]
        return row, place_T[row]


@dataclass(frozen=True)
class SampledLossConfig(LossConfig):
    """What the configs of these losses share.

    Parameters
    ----------
    popularity
        Items are drawn in proportion to their count to this power; 0 draws all alike.
    """

    popularity: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.popularity <= 1:
            raise ValueError(f"popularity must lie between 0 and 1, got {self.popularity}")

    def shares(self, count_I: Tensor, negatives: int) -> Tensor:
        """Return ``[I]``: how likely each item is in one draw.

        Raises
        ------
        ValueError
            No negative is to be drawn.
        """
        if negatives < 1:
            raise ValueError(f"{self.name} needs negatives of 1 or more")
        share_I = count_I.clamp(min=1.0) ** self.popularity
        return share_I / share_I.sum()

    @classmethod
    def search_space(cls) -> Space:
        return {"popularity": Choice((0.0, 0.5))}
