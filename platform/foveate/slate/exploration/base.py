"""The seam of slot policies: by what odds an explored place shows each of the candidates that may stand there.

Shapes: ``M`` candidates that are drawn from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.core.registry import Registry, Variant


@dataclass(frozen=True, kw_only=True)
class SlotPolicy(Variant):
    """Base of the slot policies' frozen configs; each file of this package that defines one adds a slot policy.

    Parameters
    ----------
    places
        The places of a slate that are explored, from 1; empty for all.
    top
        A place is drawn from so many of the most relevant candidates that may stand there.
    """

    variants: ClassVar[Registry[SlotPolicy]]

    places: tuple[int, ...] = ()
    top: int = 50

    def __post_init__(self) -> None:
        if min(self.places, default=1) < 1 or len(set(self.places)) < len(self.places):
            raise ConfigError(f"places must be different numbers from 1, got {list(self.places)}")
        if self.top < 2:
            raise ConfigError(f"top must be 2 or more, got {self.top}: a draw from one is none")

    def logits(self, relevance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithms of the odds, up to a constant, of candidates with this finite relevance ``[M]``.

        The most relevant come first, and what is more relevant is not less likely.
        """
        raise NotImplementedError


SlotPolicy.variants = Registry("slot policy", SlotPolicy, "foveate.slate.exploration")
