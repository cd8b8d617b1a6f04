"""The seam of auxiliaries: tasks that are learned beside the next item, and that no answer needs.

Legend of tensor names: ``B`` spans, ``L`` positions, ``T`` training rows (a viewer at a position, with the event that
followed), ``I`` items, ``D`` width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveate.attention.base import match
from foveate.core.registry import Registry, Variant
from foveate.core.space import LogUniform, Space
from foveate.encoder.batch import SequenceBatch
from foveate.encoder.embedding.lookup import Lookup
from foveate.encoder.losses.base import Score
from foveate.encoder.model import SequenceEncoder
from foveate.encoder.trend import Moments, TrendingItems


@dataclass(frozen=True)
class Step:
    """What one step of training has at hand.

    Parameters
    ----------
    model
        The encoder that learns.
    batch
        The histories that were read.
    items
        The item vectors.
    states_BLD
        The viewer after each event.
    next_T
        int64 where the event that followed each row stands among ``batch.events``.
    moments
        What was popular when; None where the model adds nothing of it.
    """

    model: SequenceEncoder
    batch: SequenceBatch
    items: Lookup
    states_BLD: Tensor
    next_T: Tensor
    moments: Moments | None = None

    @cached_property
    def user_TD(self) -> Tensor:
        """The viewer of each row."""
        batch = self.batch
        return self.states_BLD[batch.valid_BL] if batch.padded else self.states_BLD.flatten(0, 1)

    @cached_property
    def target_T(self) -> Tensor:
        """int64 code of the item that followed each row."""
        return self.batch.events.items_N[self.next_T]

    def scored(self) -> tuple[Tensor, Lookup, Score]:
        """Return viewers, items and what scores them, as a loss takes them: with what is popular where that counts."""
        if self.moments is None or self.model.trend is None:
            return self.user_TD, self.items, self.model.score
        moment_TK, width = self.moments.of(self.batch.events.times_N[self.next_T]), self.user_TD.shape[1]
        items = TrendingItems(self.items, self.moments, self.model.trend.weight_H)

        def score(user_TM: Tensor, item_NM: Tensor) -> Tensor:
            own = self.model.score(user_TM[..., :width], item_NM[..., :width])
            return own + match(user_TM[..., width:], item_NM[..., width:])

        return torch.cat((self.user_TD, moment_TK), dim=-1), items, score


class Auxiliary(nn.Module):
    """A task with weights of its own. They train along and stay behind when the encoder is exported."""

    def forward(self, step: Step) -> Tensor:
        """Return how wrong the step is, a scalar; 0 where no row tells."""
        raise NotImplementedError


@dataclass(frozen=True)
class AuxiliaryConfig(Variant):
    """Base of the auxiliaries' frozen configs; each file of this package that defines one adds an auxiliary.

    Parameters
    ----------
    weight
        How much the task counts beside the next item.
    """

    variants: ClassVar[Registry[AuxiliaryConfig]]

    weight: float = 0.1

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise ValueError(f"weight must be above 0, got {self.weight}: leave the auxiliary out instead")

    def build(self, width: int) -> Auxiliary:
        """Build the module for vectors of ``width``."""
        raise NotImplementedError

    @classmethod
    def search_space(cls) -> Space:
        return {"weight": LogUniform(0.01, 1.0)}


AuxiliaryConfig.variants = Registry("auxiliary", AuxiliaryConfig, "foveate.encoder.auxiliaries")


class PairPredictor(nn.Module):
    """A small network that says something of a viewer and the item that they meet, as one number a row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * width, width)
        self.out = nn.Linear(width, 1)

    def forward(self, user_TD: Tensor, item_TD: Tensor) -> Tensor:
        """Return ``[T]``, before any squashing."""
        said: Tensor = self.out(F.gelu(self.hidden(torch.cat((user_TD, item_TD), dim=-1))))[:, 0]
        return said


def masked_mean(loss_T: Tensor, mask_T: Tensor) -> Tensor:
    """Return the mean over the rows that ``mask_T`` marks, 0 without any."""
    return torch.where(mask_T, loss_T, 0.0).sum() / mask_T.sum().clamp(min=1)
