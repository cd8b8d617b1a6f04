"""Places drawn by the softmax of the ranker's scores: better candidates are more likely, none is certain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.slate.exploration.base import SlotPolicy


@dataclass(frozen=True, kw_only=True)
class PlackettLuce(SlotPolicy):
    """Draws each place with odds that grow with ``exp(score / temperature)``, without repetition.

    Without rules and with every place explored, the slate is a draw of the Plackett-Luce model.
    Source: Plackett, The analysis of permutations (Applied Statistics 24, 1975), on the choice axiom of Luce,
    Individual choice behavior (1959), chapter 1.

    Parameters
    ----------
    temperature
        In units of the score: towards 0 the best candidate is all but certain, a high one draws all alike.
    """

    name: ClassVar[str] = "plackett_luce"

    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(f"temperature must be above 0, got {self.temperature}")

    def logits(self, relevance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores by temperature."""
        return relevance / self.temperature
