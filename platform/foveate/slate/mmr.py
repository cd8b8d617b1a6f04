"""Maximal marginal relevance: each pick weighs its relevance against its likeness to what is already chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.slate.base import DiversityPolicy
from foveate.slate.inputs import SlateInput, Worth


@dataclass(frozen=True)
class MMR(DiversityPolicy):
    """Picks the largest ``(1 - strength) * relevance - strength * likeness`` again and again.

    Relevance is brought to 0 to 1 over the candidates; likeness is the largest cosine with an item chosen before.
    Source: Carbonell and Goldstein, The use of MMR (1998), section 2, with ``strength`` as their ``1 - lambda``.

    Parameters
    ----------
    strength
        From 0 (relevance alone) to 1 (dissimilarity alone).
    """

    name: ClassVar[str] = "mmr"

    def marginal_value(self, ranked: SlateInput, relevance_N: NDArray[np.float32]) -> Worth:
        own_N, vectors_ND, strength = (1.0 - self.strength) * relevance_N, ranked.vectors, np.float32(self.strength)
        likeness_N = np.full(len(own_N), -np.inf, dtype=np.float32)

        def worth(last: int | None) -> NDArray[np.float32]:
            if last is None:
                return own_N
            np.maximum(likeness_N, vectors_ND @ vectors_ND[last], out=likeness_N)
            return own_N - strength * likeness_N

        return worth
