"""Auxiliary task: whether a viewer likes the next video."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from foveate.encoder.auxiliaries.base import Auxiliary, AuxiliaryConfig, PairPredictor, Step


class LikeTask(Auxiliary):
    """Cross-entropy between whether the next item was liked and what is foretold."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.predict = PairPredictor(width)

    def forward(self, step: Step) -> Tensor:
        liked_T = step.batch.events.liked_N[step.next_T]
        said_T = self.predict(step.user_TD, step.items.of(step.target_T))
        return F.binary_cross_entropy_with_logits(said_T, liked_T.to(said_T.dtype))


@dataclass(frozen=True)
class Like(AuxiliaryConfig):
    """Foretell whether the next video is liked before the one after it comes."""

    name = "like"

    def build(self, width: int) -> LikeTask:
        return LikeTask(width)
