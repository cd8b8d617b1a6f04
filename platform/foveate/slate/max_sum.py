"""Max-sum dispersion: the most chances and the most dissimilarity between all pairs, shown best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.space import Space, Uniform
from foveate.slate.base import DiversityPolicy, relevance_alone
from foveate.slate.inputs import SlateInput, Worth

_PRICE = np.float32(0.01)
"""The chance of being liked that, at strength 0.5, is worth as much as being wholly unlike one more item."""


@dataclass(frozen=True)
class MaxSum(DiversityPolicy):
    """Picks the largest ``(1 - strength) * chance + strength * 0.01 * sum of dissimilarities`` again and again.

    Dissimilarity to a pick is 1 less the cosine. ``chance`` is the softmax of the scores over the candidates, which is
    the scale of a ranker trained on pairs. Where it is sure of few items those stay, and diversity comes from where
    many are as good, so that every viewer gives up the same relevance for it. A set is chosen, not an order: the picks
    are shown by relevance.
    Source: Borodin, Lee and Ye, Max-sum diversification, monotone submodular functions and dynamic updates (PODS 2012),
    section 4, whose greedy choice is within half of the best; the softmax is Luce's choice axiom (1959), chapter 1.

    Parameters
    ----------
    strength
        From 0 (relevance alone) to 1 (dissimilarity alone).
    """

    name: ClassVar[str] = "max_sum"

    strength: float = 0.15

    @classmethod
    def search_space(cls) -> Space:
        return {"strength": Uniform(0.0, 0.5)}

    def scale(self, relevance_N: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn scores into chances of sum 1; one that is not finite has none."""
        finite_N = np.isfinite(relevance_N)
        if not finite_N.any():
            return np.zeros(len(relevance_N), dtype=np.float32)
        known_N = np.where(finite_N, relevance_N, -np.inf).astype(np.float64)
        chance_N = np.exp(known_N - known_N.max())
        return np.asarray(chance_N / chance_N.sum(), dtype=np.float32)

    def marginal_value(self, ranked: SlateInput, relevance_N: NDArray[np.float32]) -> Worth:
        worth_N = (1.0 - self.strength) * relevance_N
        vectors_ND, price = ranked.vectors, np.float32(self.strength) * _PRICE

        def worth(last: int | None) -> NDArray[np.float32]:
            if last is not None:
                worth_N[:] += price * (1.0 - vectors_ND @ vectors_ND[last])
            return worth_N

        return worth

    def arrange(self, ranked: SlateInput) -> Worth:
        """Show what was chosen by relevance."""
        return relevance_alone(ranked)
