"""A recurrent cell that reads the viewer and then the item."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from foveate.attention.base import match
from foveate.core.space import Choice, Space
from foveate.encoder.heads.base import Head, HeadConfig


class RecurrentHead(Head):
    """``w . gru(v, gru(u, 0)) + u . v``, with one cell for both steps.

    Source of the cell: Cho et al., Learning Phrase Representations (2014), section 2.3, in the form of
    :class:`torch.nn.GRUCell`.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(width, hidden)
        self.out = nn.Linear(hidden, 1, bias=False)

    def forward(self, user_BD: Tensor, item_ND: Tensor) -> Tensor:
        bend_BN: Tensor = self.out(self._second_step(self.cell(user_BD), item_ND))[..., 0]
        return bend_BN + match(user_BD, item_ND)

    def _second_step(self, state_BM: Tensor, item_ND: Tensor) -> Tensor:
        """Return ``[B, N, M]``: each viewer's state after each item.

        What the cell's maps make of states and of items is worked out once a side; only the gates see every pair.
        """
        kept = F.linear(state_BM, self.cell.weight_hh, self.cell.bias_hh)[:, None].chunk(3, dim=-1)
        read = F.linear(item_ND, self.cell.weight_ih, self.cell.bias_ih).chunk(3, dim=-1)
        reset_BNM, update_BNM = ((kept[gate] + read[gate]).sigmoid() for gate in (0, 1))
        new_BNM = (read[2] + reset_BNM * kept[2]).tanh()
        return new_BNM + update_BNM * (state_BM[:, None] - new_BNM)


@dataclass(frozen=True)
class Recurrent(HeadConfig):
    """A recurrent cell that reads viewer and item one after another, beside their dot product.

    Parameters
    ----------
    hidden
        Width of its state. Memory grows with viewers x items x ``hidden`` and is about five times that of a hidden
        layer as wide.
    """

    name = "recurrent"

    hidden: int = 8

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError(f"hidden must be 1 or more, got {self.hidden}")

    def build(self, width: int) -> RecurrentHead:
        return RecurrentHead(width, self.hidden)

    @classmethod
    def search_space(cls) -> Space:
        return {"hidden": Choice((4, 8, 16))}
