"""A determinantal point process: slates whose items span the largest volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.core.space import Choice, Space, Uniform
from foveate.slate.base import DiversityPolicy
from foveate.slate.inputs import SlateInput, Worth
from foveate.slate.remainder import Remainder

_LEAST = np.float32(1e-4)
"""Of an item that the slate spans wholly: its logarithm must stay finite."""


@dataclass(frozen=True)
class DPP(DiversityPolicy):
    """Picks the largest ``(1 - strength) * relevance + strength * log d^2`` again and again.

    ``d^2`` is what an item multiplies the determinant of the latest picks' cosines by: the squared length that they
    leave of its vector. Relevance is brought to 0 to 1 over the candidates.
    Source: Chen, Zhang and Zhou, Fast greedy MAP inference for determinantal point process (2018): the greedy choice
    of section 3, the sliding window of section 4, the trade-off of section 5 with ``strength`` as their ``1 - theta``.

    Parameters
    ----------
    strength
        From 0 (relevance alone) to 1 (volume alone).
    window
        An item is held against the ``window - 1`` picks before it.
    """

    name: ClassVar[str] = "dpp"

    strength: float = 0.1
    window: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 2:
            raise ConfigError(f"window must be at least 2 places, got {self.window}")

    @classmethod
    def search_space(cls) -> Space:
        return {"strength": Uniform(0.0, 0.5), "window": Choice((5, 10, 20))}

    def marginal_value(self, ranked: SlateInput, relevance_N: NDArray[np.float32]) -> Worth:
        own_N, strength = (1.0 - self.strength) * relevance_N, np.float32(self.strength)
        left = Remainder(ranked.vectors, self.window)

        def worth(last: int | None) -> NDArray[np.float32]:
            if last is not None:
                left.add(last)
                if len(left) == self.window:
                    left.forget_first()
            return np.asarray(own_N + strength * np.log(np.maximum(left.square_N, _LEAST)))

        return worth
