"""The seam by which training looks items up: a table that this process has whole, or one that lies elsewhere too.

Legend of tensor names: ``I`` all items, ``D`` width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


class Lookup(ABC):
    """The item vectors as they stand in one step."""

    @abstractmethod
    def of(self, codes: Tensor) -> Tensor:
        """Return ``[..., D]``: the vectors of items, by int64 codes ``[...]``.

        Every call has its price: on the way back a table as large as what this process holds, and where processes
        share the items out two exchanges. What is known at once is best looked up at once.
        """

    @abstractmethod
    def every(self) -> Tensor:
        """Return ``[I, D]``: the vectors of all items.

        Raises
        ------
        TrainingError
            No process has them all.
        """


@dataclass(frozen=True)
class WholeTable(Lookup):
    """All item vectors at hand, ``item_ID`` ``[I, D]``."""

    item_ID: Tensor

    def of(self, codes: Tensor) -> Tensor:
        """Return the vectors of items, ``[..., D]``."""
        return F.embedding(codes, self.item_ID)

    def every(self) -> Tensor:
        """Return the vectors of all items, ``[I, D]``."""
        return self.item_ID


@dataclass(frozen=True)
class JoinedTable(Lookup):
    """Item vectors ``item_ID`` ``[I, D]`` that stay where they lie, and ``appended_ND`` ``[N, D]`` behind them."""

    item_ID: Tensor
    appended_ND: Tensor

    def of(self, codes: Tensor) -> Tensor:
        """Return the vectors of items, ``[..., D]``."""
        known, appended = len(self.item_ID), len(self.appended_ND)
        own = F.embedding(codes.clamp(max=known - 1), self.item_ID)
        other = F.embedding((codes - known).clamp(0, appended - 1), self.appended_ND)
        return torch.where((codes < known)[..., None], own, other)

    def every(self) -> Tensor:
        """Return the vectors of all items, ``[I + N, D]``, in memory."""
        return torch.cat([self.item_ID, self.appended_ND])
