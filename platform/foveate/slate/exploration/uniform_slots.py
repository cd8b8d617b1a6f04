"""Named places drawn uniformly from the best candidates: little is shown at random, and its odds are all alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.slate.exploration.base import SlotPolicy


@dataclass(frozen=True, kw_only=True)
class UniformSlots(SlotPolicy):
    """Draws each of the named places uniformly from the ``top`` most relevant candidates that may stand there."""

    name: ClassVar[str] = "uniform_slots"

    places: tuple[int, ...] = (5,)
    top: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.places:
            raise ConfigError("places must name at least one place, from 1")

    def logits(self, relevance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the same for all."""
        return np.zeros(len(relevance))
