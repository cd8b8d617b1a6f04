"""The seam of slate policies: pure functions over arrays.

Shapes: ``N`` ranked candidates, ``C`` categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.errors import ConfigError
from foveate.registry import Registry, Variant
from foveate.space import Space


@dataclass(frozen=True)
class SlateInput:
    """Candidates as a policy sees them.

    Parameters
    ----------
    relevance
        ``[N]`` float32 ranker scores; one that is not finite sinks below every finite one.
    vectors
        ``[N, D]`` float32 rows of unit length (or zero), whose dot product says how alike two items are.
    channel
        ``[N]`` int32 channel code, ``-1`` for unknown: an unknown channel is capped by no cap.
    category
        ``[N]`` int32 code of the main category, ``-1`` for unknown.
    codes
        ``[N]`` int32 item codes: ties are broken by them.
    """

    relevance: NDArray[np.float32]
    vectors: NDArray[np.float32]
    channel: NDArray[np.int32]
    category: NDArray[np.int32]
    codes: NDArray[np.int32]


@dataclass(frozen=True)
class Constraints:
    """Hard caps: no slate breaks one, even if that leaves it short. None caps nothing."""

    max_per_channel: int | None = 2
    max_per_category: int | None = 4

    def __post_init__(self) -> None:
        for name in ("max_per_channel", "max_per_category"):
            cap = getattr(self, name)
            if cap is not None and cap < 1:
                raise ConfigError(f"{name} must be at least 1, or null for no cap, got {cap}")


@dataclass(frozen=True)
class Selection:
    """What a policy decided.

    Parameters
    ----------
    chosen
        Positions in the input, in slate order.
    displaced
        Positions that pure relevance would have shown and the slate does not.
    relaxed
        Names of soft wishes that could not be kept.
    relevance_paid
        Mean relevance of the uncapped, undiversified slate less that of this one, over their finite scores.
    """

    chosen: NDArray[np.int64]
    displaced: NDArray[np.int64]
    relaxed: tuple[str, ...]
    relevance_paid: float


class SlatePolicy(Variant):
    """Base of the policies' frozen configs; each file of this package that defines one adds a policy."""

    variants: ClassVar[Registry[SlatePolicy]]

    def select(self, ranked: SlateInput, size: int, constraints: Constraints, seed: int) -> Selection:
        """Choose up to ``size`` candidates: exactly ``size`` where the constraints allow it, else the most they do."""
        raise NotImplementedError

    @classmethod
    def search_space(cls) -> Space:
        """Return the settings worth sweeping."""
        return {}


SlatePolicy.variants = Registry("policy", SlatePolicy, "foveate.slate")
