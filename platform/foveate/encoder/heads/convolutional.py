"""A convolution over viewer, item and their product."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveate.attention.base import match
from foveate.core.space import Choice, Space
from foveate.encoder.heads.base import Head, HeadConfig


class ConvolutionalHead(Head):
    """``w . relu(conv([u; v; u * v])) + u . v``: a one-dimensional convolution over three rows.

    Kernel and step are one stretch of channels long, so that a filter meets each stretch once. A filter is linear in
    its three rows: those of viewer and item are run over once a side, and that of the product is a dot product of the
    stretches. No pair's product vector is ever held.

    Source: the convolution over stacked vectors is that of Kim, Convolutional Neural Networks for Sentence
    Classification (2014), section 2, formula 2.
    """

    def __init__(self, width: int, filters: int, stretches: int) -> None:
        super().__init__()
        self.stretches = min(stretches, width)
        # Channels that do not fill the last stretch are followed by zeros.
        self.step = -(-width // self.stretches)
        self.of_user = nn.Linear(self.step, filters)
        self.of_item = nn.Linear(self.step, filters, bias=False)
        self.of_product = nn.Linear(self.step, filters, bias=False)
        self.out = nn.Linear(filters * self.stretches, 1, bias=False)

    def forward(self, user_BD: Tensor, item_ND: Tensor) -> Tensor:
        user_BSW, item_NSW = self._cut(user_BD), self._cut(item_ND)
        weighted_BSFW = user_BSW[:, :, None] * self.of_product.weight
        pairs = "bsfw,nsw->bnsf" if item_ND.dim() == 2 else "bsfw,bnsw->bnsf"
        alone_BNSF = self.of_user(user_BSW)[:, None] + self.of_item(item_NSW)
        hidden_BNSF = F.relu(alone_BNSF + torch.einsum(pairs, weighted_BSFW, item_NSW))
        bend_BN: Tensor = self.out(hidden_BNSF.flatten(-2))[..., 0]
        return bend_BN + match(user_BD, item_ND)

    def _cut(self, x_ND: Tensor) -> Tensor:
        """Return ``[..., S, W]``: the vectors in stretches."""
        missing = self.step * self.stretches - x_ND.shape[-1]
        return F.pad(x_ND, (0, missing)).reshape(*x_ND.shape[:-1], self.stretches, self.step)


@dataclass(frozen=True)
class Convolutional(HeadConfig):
    """Filters over stretches of viewer, item and their product, beside their dot product.

    Parameters
    ----------
    filters
        How many filters run over the stretches. Memory grows with viewers x items x ``filters`` x ``stretches``.
    stretches
        How many stretches the vectors are cut into.
    """

    name = "convolutional"

    filters: int = 4
    stretches: int = 4

    def __post_init__(self) -> None:
        if min(self.filters, self.stretches) < 1:
            raise ValueError("filters and stretches must be 1 or more")

    def build(self, width: int) -> ConvolutionalHead:
        return ConvolutionalHead(width, self.filters, self.stretches)

    @classmethod
    def search_space(cls) -> Space:
        return {"filters": Choice((2, 4, 8)), "stretches": Choice((2, 4))}
