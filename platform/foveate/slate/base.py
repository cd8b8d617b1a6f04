"""The seam of slate policies: pure functions over arrays, each of which says what a candidate would add.

Shapes: ``N`` ranked candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.core.registry import Registry, Variant
from foveate.core.space import Space, Uniform
from foveate.slate.choose import choose
from foveate.slate.constraints import Constraints
from foveate.slate.inputs import Selection, SlateInput, Worth, unit_range


class SlatePolicy(Variant):
    """Base of the policies' frozen configs; each file of this package that defines one adds a policy."""

    variants: ClassVar[Registry[SlatePolicy]]

    def select(self, ranked: SlateInput, size: int, constraints: Constraints, seed: int) -> Selection:
        """Choose up to ``size`` candidates: exactly ``size`` where the constraints allow it, else the most they do.

        Parameters
        ----------
        ranked
            The candidates, in any order: the slate does not depend on it.
        seed
            Of whatever is random.
        """
        return choose(ranked, size, constraints, self.start, seed, additive=self.additive, arrange=self.arrange)

    @property
    def additive(self) -> bool:
        """Whether an item is worth the same beside any others."""
        return False

    def start(self, ranked: SlateInput) -> Worth:
        """Begin one pass over the candidates: the choice takes the worthiest, tells it back, and asks again."""
        raise NotImplementedError

    def arrange(self, ranked: SlateInput) -> Worth | None:
        """Begin the order in which what was chosen is shown, the worthiest first; None keeps the order of choice."""
        del ranked
        return None


@dataclass(frozen=True)
class DiversityPolicy(SlatePolicy):
    """Base of the policies that trade relevance for diversity.

    Parameters
    ----------
    strength
        From 0 (relevance alone) to 1.
    """

    strength: float = 0.2

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.0:
            raise ConfigError(f"strength must lie between 0 and 1, got {self.strength}")

    @classmethod
    def search_space(cls) -> Space:
        return {"strength": Uniform(0.0, 0.7)}

    @property
    def additive(self) -> bool:
        """Whether an item is worth the same beside any others: only without strength."""
        return self.strength == 0

    def start(self, ranked: SlateInput) -> Worth:
        """Begin one pass over the candidates."""
        # Bringing relevance to one range rounds: without strength the scores themselves decide.
        return relevance_alone(ranked) if self.additive else self.marginal_value(ranked, self.scale(ranked.relevance))

    def scale(self, relevance_N: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring relevance to where strength can weigh it: 0 to 1 over the candidates."""
        return unit_range(relevance_N)

    def marginal_value(self, ranked: SlateInput, relevance_N: NDArray[np.float32]) -> Worth:
        """Begin one pass with a strength above 0; ``relevance_N`` is what :meth:`scale` made of it."""
        raise NotImplementedError


def relevance_alone(ranked: SlateInput) -> Worth:
    """Return the worth that is relevance, whatever was chosen before."""

    def worth(last: int | None) -> NDArray[np.float32]:
        del last
        return ranked.relevance

    return worth


SlatePolicy.variants = Registry("policy", SlatePolicy, "foveate.slate")
