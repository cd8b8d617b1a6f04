"""The seam of losses.

Legend of tensor names: ``T`` training rows (a viewer at a position, with the item that followed), ``I`` items, ``N``
negatives, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeAlias

from torch import Tensor, nn

from foveate.core.registry import Registry, Variant
from foveate.encoder.embedding.lookup import Lookup

Score: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A scorer or a head: viewers ``[T, D]`` and items ``[N, D]`` or ``[T, N, D]`` to scores ``[T, N]``."""


class Loss(nn.Module):
    """How wrong the scores of a batch are."""

    def forward(self, user_TD: Tensor, target_T: Tensor, items: Lookup, score: Score) -> Tensor:
        """Return the mean over the rows, a scalar; ``target_T`` are item codes, ``items`` knows their vectors."""
        raise NotImplementedError


class LossConfig(Variant):
    """Base of the losses' frozen configs; each file of this package that defines one adds a loss."""

    variants: ClassVar[Registry[LossConfig]]
    every_item: ClassVar[bool] = False
    """Whether it reads the vector of every item; then one process has to hold them all."""

    def build(self, count_I: Tensor, negatives: int) -> Loss:
        """Build the module.

        Parameters
        ----------
        count_I
            float32: how often each item was watched.
        negatives
            How many items a step contrasts with the targets; a loss over the whole catalogue ignores it.
        """
        raise NotImplementedError


LossConfig.variants = Registry("loss", LossConfig, "foveate.encoder.losses")
