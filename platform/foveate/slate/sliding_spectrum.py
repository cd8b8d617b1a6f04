"""Sliding spectrum decomposition: the volume that the last few items span, as a viewer scrolls past them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.core.space import Choice, Space, Uniform
from foveate.slate.base import DiversityPolicy
from foveate.slate.inputs import SlateInput, Worth
from foveate.slate.remainder import Remainder


@dataclass(frozen=True)
class SlidingSpectrum(DiversityPolicy):
    """Picks the largest ``(1 - strength) * relevance + strength * volume * length`` again and again.

    ``length`` is what the last ``window - 1`` picks leave of an item's vector; ``volume`` is the product of what was
    left of each of those picks when it was chosen. An item that slides out of the window gives back what was taken
    away for it, once. Relevance is brought to 0 to 1 over the candidates.
    Source: Huang et al., Sliding spectrum decomposition for diversified recommendation (KDD 2021), section 3.3, with
    ``strength / (1 - strength)`` as their ``gamma``.

    Parameters
    ----------
    strength
        From 0 (relevance alone) to 1 (volume alone).
    window
        How many places on end a viewer is taken to see together.
    """

    name: ClassVar[str] = "sliding_spectrum"

    strength: float = 0.3
    window: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 2:
            raise ConfigError(f"window must be at least 2 places, got {self.window}")

    @classmethod
    def search_space(cls) -> Space:
        return {"strength": Uniform(0.0, 0.8), "window": Choice((3, 5, 10))}

    def marginal_value(self, ranked: SlateInput, relevance_N: NDArray[np.float32]) -> Worth:
        own_N = (1.0 - self.strength) * relevance_N
        left = Remainder(ranked.vectors, self.window)
        lengths: deque[float] = deque(maxlen=self.window - 1)

        def worth(last: int | None) -> NDArray[np.float32]:
            if last is not None:
                lengths.append(float(np.sqrt(left.square_N[last])))
                left.add(last)
                if len(left) == self.window:
                    left.give_back_first()
            return np.asarray(own_N + np.float32(self.strength * prod(lengths)) * np.sqrt(left.square_N))

        return worth
