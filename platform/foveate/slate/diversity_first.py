"""Coverage before relevance: channels and categories that the slate does not show yet come first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.space import Space, Uniform
from foveate.slate.base import DiversityPolicy
from foveate.slate.inputs import SlateInput, Worth

_SPANS = np.float32(2.0)
"""At full strength something new is worth more than the whole span of relevance."""


@dataclass(frozen=True)
class DiversityFirst(DiversityPolicy):
    """Picks the largest ``relevance + 2 * strength * new`` again and again.

    ``new`` counts, from 0 to 2, whether an item brings a channel and whether it brings a category that no pick has
    brought. Relevance is brought to 0 to 1 over the candidates, so from strength 0.5 on coverage comes first and
    relevance decides among those that cover as much.
    Source: the greedy rule for the largest coverage of Nemhauser, Wolsey and Fisher, An analysis of approximations for
    maximizing submodular set functions (1978), section 4, with relevance as the modular part.

    Parameters
    ----------
    strength
        From 0 (relevance alone) to 1 (coverage first, relevance second).
    """

    name: ClassVar[str] = "diversity_first"

    strength: float = 1.0

    @classmethod
    def search_space(cls) -> Space:
        return {"strength": Uniform(0.0, 0.6)}

    def marginal_value(self, ranked: SlateInput, relevance_N: NDArray[np.float32]) -> Worth:
        has_NC = ranked.categories > 0
        new_channel_N = ranked.channel >= 0
        open_C = np.ones(has_NC.shape[1], dtype=bool)

        def worth(last: int | None) -> NDArray[np.float32]:
            if last is not None:
                open_C[has_NC[last]] = False
                new_channel_N[ranked.channel == ranked.channel[last]] = False
            new_N = new_channel_N.astype(np.float32) + (has_NC @ open_C)
            return relevance_N + _SPANS * np.float32(self.strength) * new_N

        return worth
