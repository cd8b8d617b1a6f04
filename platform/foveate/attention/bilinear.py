"""A dot product through a learned matrix."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from foveate.attention.base import Scorer, ScorerConfig, match


class BilinearScorer(Scorer):
    """``u' W v`` (Luong et al., Effective Approaches to Attention-based Neural Machine Translation, 2015, section 3.1).

    ``W`` starts as the identity, and so training from the dot product.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.weight.weight)

    def forward(self, user_BD: Tensor, item_ND: Tensor) -> Tensor:
        return match(*self.as_dot(user_BD, item_ND))

    def as_dot(self, user_BD: Tensor, item_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return mapped viewers, and items as they are."""
        return self.weight(user_BD), item_ND


@dataclass(frozen=True)
class Bilinear(ScorerConfig):
    """Dot product of a mapped viewer and the item: viewers need not live in the space of the items."""

    name = "bilinear"

    def build(self, width: int) -> BilinearScorer:
        return BilinearScorer(width)
