"""The plainest match: a dot product."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from foveate.attention.base import Scorer, ScorerConfig, match


class DotProductScorer(Scorer):
    """Dot product of viewer and item."""

    def forward(self, user_BD: Tensor, item_ND: Tensor) -> Tensor:
        return match(user_BD, item_ND)


@dataclass(frozen=True)
class DotProduct(ScorerConfig):
    """Dot product of viewer and item: long item vectors win often, so popularity is learned."""

    name = "dot_product"

    def build(self, width: int) -> DotProductScorer:
        del width
        return DotProductScorer()
