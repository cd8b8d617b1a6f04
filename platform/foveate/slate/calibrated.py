"""Calibration: a slate's mix of categories near the mix of the viewer's history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.slate.base import DiversityPolicy
from foveate.slate.inputs import SlateInput, Worth

_SMOOTHING = np.float32(0.01)
"""How much of the viewer's mix is blended into the slate's, so that a category without an item costs a finite sum."""


@dataclass(frozen=True)
class Calibrated(DiversityPolicy):
    """Picks the largest ``(1 - strength) * sum of relevance - strength * KL(p || q)`` again and again.

    ``p`` is the mix of categories in the viewer's history and ``q`` that of the slate with the pick, an item of several
    categories counting for each in equal shares; a hundredth of ``p`` is blended into ``q``. Relevance is brought to 0
    to 1 over the candidates. For a viewer without a history it is relevance alone that decides.
    Source: Steck, Calibrated recommendations (RecSys 2018), section 3, with ``strength`` as his ``lambda``.

    Parameters
    ----------
    strength
        From 0 (relevance alone) to 1 (the mix alone).
    """

    name: ClassVar[str] = "calibrated"

    strength: float = 0.3

    def marginal_value(self, ranked: SlateInput, relevance_N: NDArray[np.float32]) -> Worth:
        # Categories that the viewer never met do not enter the sum.
        liked = np.flatnonzero(ranked.taste)
        p_C, shares_NC = ranked.taste[liked], ranked.categories[:, liked]
        own_N, strength = (1.0 - self.strength) * relevance_N, np.float32(self.strength)
        held_C = np.zeros(len(liked), dtype=np.float32)
        count = 0

        def worth(last: int | None) -> NDArray[np.float32]:
            nonlocal count
            if last is not None:
                held_C[:] += shares_NC[last]
                count += 1
            q_NC = (1.0 - _SMOOTHING) * (held_C + shares_NC) / (count + 1) + _SMOOTHING * p_C
            # KL(p || q) but for the term of p alone, which is the same for all.
            return np.asarray(own_N + strength * (np.log(q_NC) @ p_C), dtype=np.float32)

        return worth
