"""Maximal marginal relevance: each pick weighs its relevance against its likeness to what is already chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.errors import ConfigError
from foveate.slate.base import Constraints, Selection, SlateInput, SlatePolicy
from foveate.slate.constraints import Worth, describe, fill
from foveate.space import Space, Uniform


@dataclass(frozen=True)
class MMR(SlatePolicy):
    """Picks the largest ``(1 - strength) * relevance - strength * likeness`` again and again.

    Relevance is brought to 0 to 1 over the candidates; likeness is the largest cosine with an item chosen before.
    Source: Carbonell and Goldstein, The use of MMR (1998), section 2, with ``strength`` as their ``1 - lambda``.

    Parameters
    ----------
    strength
        From 0 (relevance alone) to 1 (unlikeness alone).
    """

    name: ClassVar[str] = "mmr"

    strength: float = 0.2

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.0:
            raise ConfigError(f"strength must lie between 0 and 1, got {self.strength}")

    @classmethod
    def search_space(cls) -> Space:
        """Return the settings worth sweeping."""
        return {"strength": Uniform(0.0, 0.7)}

    def select(self, ranked: SlateInput, size: int, constraints: Constraints, seed: int) -> Selection:
        """Choose up to ``size`` candidates; the seed is not used."""
        del seed
        return describe(ranked, fill(ranked, size, constraints, self._worth), size)

    def _worth(self, ranked: SlateInput) -> Worth:
        relevance_N = (1.0 - self.strength) * _unit_range(ranked.relevance)
        vectors_ND, strength = ranked.vectors, np.float32(self.strength)
        likeness_N = np.full(len(relevance_N), -np.inf, dtype=np.float32)

        def worth(last: int | None) -> NDArray[np.float32]:
            if last is None:
                return relevance_N
            np.maximum(likeness_N, vectors_ND @ vectors_ND[last], out=likeness_N)
            return relevance_N - strength * likeness_N

        return worth


def _unit_range(relevance_N: NDArray[np.float32]) -> NDArray[np.float32]:
    finite_N = np.isfinite(relevance_N)
    if not finite_N.any():
        return np.zeros(len(relevance_N), dtype=np.float32)
    known = relevance_N[finite_N].astype(np.float64)
    low, width = known.min(), np.ptp(known)
    scaled_N = (np.where(finite_N, relevance_N, low) - low) / (width if width > 0 else 1.0)
    return np.asarray(scaled_N, dtype=np.float32)
