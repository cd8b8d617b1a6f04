"""A map over viewer and item side by side."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from foveate.attention.base import Scorer, ScorerConfig
from foveate.core.space import Choice, Space


class MultilinearScorer(Scorer):
    """``w . tanh(W [u; v / |v|] + b)``, the additive form of attention.

    The bend is needed: ``w . W [u; v]`` is a part for the viewer plus a part for the item, and would rank all items
    alike for every viewer. So a fresh ``W`` fills the bend: with item vectors as small as fresh ones are, and a usual
    start, the sum stays where ``tanh`` is straight, and training ranks by popularity for many epochs.

    Source: Bahdanau et al., Neural Machine Translation by Jointly Learning to Align and Translate (2015), section
    A.1.2.
    """

    indexable = False

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.of_user = nn.Linear(width, hidden)
        self.of_item = nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden, 1, bias=False)
        # An encoder's viewers come from a LayerNorm, each coordinate about one; a direction's add up to one.
        nn.init.normal_(self.of_user.weight, std=width**-0.5)
        nn.init.normal_(self.of_item.weight)

    def forward(self, user_BD: Tensor, item_ND: Tensor) -> Tensor:
        # W [u; v] is a map of u plus a map of v, so each side passes once and not once a pair.
        hidden_BNM = (self.of_user(user_BD)[:, None] + self.of_item(F.normalize(item_ND, dim=-1))).tanh()
        score_BN: Tensor = self.out(hidden_BNM)[..., 0]
        return score_BN


@dataclass(frozen=True)
class Multilinear(ScorerConfig):
    """A bent linear map over viewer and item side by side, without any product of the two.

    Parameters
    ----------
    hidden
        How many bends. Memory grows with viewers x items x ``hidden``.
    """

    name = "multilinear"

    hidden: int = 16

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError(f"hidden must be 1 or more, got {self.hidden}")

    def build(self, width: int) -> MultilinearScorer:
        return MultilinearScorer(width, self.hidden)

    @classmethod
    def search_space(cls) -> Space:
        return {"hidden": Choice((8, 16, 32))}
