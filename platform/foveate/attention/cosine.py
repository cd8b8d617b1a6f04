"""A match of directions alone, sharpened by a learned temperature."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from foveate.attention.base import Scorer, ScorerConfig, check_temperature, log_scale, match, scale
from foveate.core.space import LogUniform, Space


class CosineScorer(Scorer):
    """Cosine of viewer and item over a learned temperature (Radford et al., CLIP, 2021, section 2.5)."""

    def __init__(self, temperature: float, *, learned: bool) -> None:
        super().__init__()
        self.log_scale = log_scale(temperature, learned=learned)

    def forward(self, user_BD: Tensor, item_ND: Tensor) -> Tensor:
        return match(*self.as_dot(user_BD, item_ND))

    def as_dot(self, user_BD: Tensor, item_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return directions, those of the viewers sharpened."""
        return F.normalize(user_BD, dim=-1) * scale(self.log_scale), F.normalize(item_ND, dim=-1)


@dataclass(frozen=True)
class Cosine(ScorerConfig):
    """Cosine of viewer and item over a temperature: an item's length, and so its popularity, plays no part.

    Parameters
    ----------
    temperature
        Where the temperature starts; lower is sharper.
    learned
        Whether training may change it.
    """

    name = "cosine"

    temperature: float = 0.05
    learned: bool = True

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def build(self, width: int) -> CosineScorer:
        del width
        return CosineScorer(self.temperature, learned=self.learned)

    @classmethod
    def search_space(cls) -> Space:
        return {"temperature": LogUniform(0.02, 0.2)}
