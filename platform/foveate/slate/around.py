"""Max-sum dispersion around what the viewer is taken to want: unlike each other, yet near the middle of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.errors import ConfigError
from foveate.slate.inputs import SlateInput, Worth
from foveate.slate.max_sum import MaxSum
from foveate.space import Choice, Space


@dataclass(frozen=True)
class Around(MaxSum):
    """As ``max_sum``, with each chance multiplied by ``exp(nearness * strength * cosine)``, the cosine to the middle.

    The middle is the mean of the candidates' vectors, weighed by their chances. What lies far from it is liked less
    often than its score says, and is what a search for the unlike would take first; so the picks are unlike each other
    and not unlike all that the viewer wants. The factor is the density of a von Mises-Fisher distribution about the
    middle. It grows with ``strength``, so that at strength 0 it is 1 and relevance alone decides.
    Source: of the choice as for ``max_sum``; of the density Banerjee et al., Clustering on the unit hypersphere using
    von Mises-Fisher distributions (JMLR 2005), section 2.2.

    Parameters
    ----------
    strength
        From 0 (relevance alone) to 1 (unlikeness alone).
    nearness
        How much nearness to the middle counts; 0 is ``max_sum``.
    """

    name: ClassVar[str] = "around"

    nearness: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nearness < 0:
            raise ConfigError(f"nearness must be 0 or more, got {self.nearness}")

    @classmethod
    def search_space(cls) -> Space:
        """Return the settings worth sweeping."""
        return {**super().search_space(), "nearness": Choice((0.0, 3.0, 5.0, 7.0))}

    def weigh(self, ranked: SlateInput, relevance_N: NDArray[np.float32]) -> Worth:
        """Begin one pass with a strength above 0."""
        middle_D = relevance_N @ ranked.vectors
        length = float(np.linalg.norm(middle_D))
        if length == 0.0:
            return super().weigh(ranked, relevance_N)
        near_N = ranked.vectors @ (middle_D / np.float32(length))
        chance_N = relevance_N * np.exp(np.float32(self.nearness * self.strength) * near_N)
        return super().weigh(ranked, chance_N / chance_N.sum())
