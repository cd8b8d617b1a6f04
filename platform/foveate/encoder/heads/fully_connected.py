"""A small network over viewer and item together."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from foveate.attention.base import match
from foveate.core.space import Choice, Space
from foveate.encoder.heads.base import Head, HeadConfig


class FullyConnectedHead(Head):
    """``w . relu(U u + V v + b) + u . v``: the dot product, corrected by a hidden layer over both vectors."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.of_user = nn.Linear(width, hidden)
        self.of_item = nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden, 1, bias=False)

    def forward(self, user_BD: Tensor, item_ND: Tensor) -> Tensor:
        # The first layer is linear in the pair, so each side passes it once and not once a pair.
        hidden_BNM = F.relu(self.of_user(user_BD)[:, None] + self.of_item(item_ND))
        bend_BN: Tensor = self.out(hidden_BNM)[..., 0]
        return bend_BN + match(user_BD, item_ND)


@dataclass(frozen=True)
class FullyConnected(HeadConfig):
    """A hidden layer over viewer and item beside their dot product.

    Parameters
    ----------
    hidden
        Width of the hidden layer. Memory grows with viewers x items x ``hidden``.
    """

    name = "fully_connected"

    hidden: int = 16

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError(f"hidden must be 1 or more, got {self.hidden}")

    def build(self, width: int) -> FullyConnectedHead:
        return FullyConnectedHead(width, self.hidden)

    @classmethod
    def search_space(cls) -> Space:
        return {"hidden": Choice((8, 16, 32))}
