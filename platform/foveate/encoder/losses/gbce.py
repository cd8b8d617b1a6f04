"""Binary cross-entropy that is not too sure of itself for having seen few negatives."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from foveate.core.space import Space, Uniform
from foveate.encoder.losses.bce import BceLoss
from foveate.encoder.losses.sampled import SampledLossConfig


@dataclass(frozen=True)
class Gbce(SampledLossConfig):
    """Binary cross-entropy whose target counts less, the fewer of the items are drawn as negatives.

    The target's probability is raised to ``beta = rate (t (1 - 1 / rate) + 1 / rate)``, where ``rate`` is the share of
    the other items that a step draws.

    Source: Petrov and Macdonald, gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with Negative
    Sampling (2023), section 5; derived there for negatives that are drawn all alike.

    Parameters
    ----------
    popularity
        Items are drawn in proportion to their count to this power; 0 draws all alike.
    t
        How far scores are calibrated: 0 is plain binary cross-entropy, 1 gives true probabilities.
    """

    name = "gbce"

    t: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.t <= 1:
            raise ValueError(f"t must lie between 0 and 1, got {self.t}")

    def build(self, count_I: Tensor, negatives: int) -> BceLoss:
        return BceLoss(self.shares(count_I, negatives), negatives, self.beta(len(count_I), negatives))

    def beta(self, n_items: int, negatives: int) -> float:
        """Return the power that the target's probability is raised to."""
        rate = min(1.0, negatives / max(n_items - 1, 1))
        return rate * (self.t * (1 - 1 / rate) + 1 / rate)

    @classmethod
    def search_space(cls) -> Space:
        return {**super().search_space(), "t": Uniform(0.5, 1.0)}
