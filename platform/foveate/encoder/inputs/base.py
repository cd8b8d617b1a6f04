"""The seam of inputs: what is added to the vectors of events, of requests and of items.

An unknown fact adds nothing: its code is 0, whose vector is zero and stays so. An input that knows nothing of any
event is thus the same as one that was left out.

Legend of tensor names: ``B`` spans, ``L`` positions, ``C`` columns of codes, ``D`` width, ``I`` items, ``K`` codes of
all items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from foveate.core.registry import Registry, Variant
from foveate.data.catalog import Catalog
from foveate.encoder.batch import SequenceBatch

UNKNOWN_CODE = 0
"""The code of a fact that is not known."""

_INIT_STD = 0.02
"""Standard deviation of fresh vectors: as small as those of the items that they are added to."""


class InputConfig(Variant):
    """Base of the inputs' frozen configs; each file of this package that defines one adds an input.

    A concrete one derives from :class:`EventInputConfig`, :class:`RequestInputConfig` or :class:`ItemInputConfig`,
    which say what it is added to.
    """

    variants: ClassVar[Registry[InputConfig]]
    needs_time: ClassVar[bool] = False
    """Whether it knows nothing where the clock is order only."""


InputConfig.variants = Registry("input", InputConfig, "foveate.encoder.inputs")


class _CodedConfig(InputConfig):
    sizes: ClassVar[tuple[int, ...]]
    """How many codes each column has, ``UNKNOWN_CODE`` included."""

    def codes(self, batch: SequenceBatch) -> Tensor:
        """Return int64 codes ``[B, L, C]``; those of a position depend on the past of that position alone."""
        raise NotImplementedError

    def build(self, width: int) -> CodedInput:
        """Build the module for vectors of ``width``."""
        return CodedInput(self.codes, self.sizes, width)


class EventInputConfig(_CodedConfig):
    """Base of inputs that are added to the vector of each event of a history."""


class RequestInputConfig(_CodedConfig):
    """Base of inputs that are added to the viewer after the history was read: what a server knows when it is asked.

    In training the request of a position is the viewer's next event.
    """


class CodedInput(nn.Module):
    """A learned vector for each code, summed over the columns."""

    def __init__(self, codes: Callable[[SequenceBatch], Tensor], sizes: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.codes = codes
        self.tables = nn.ModuleList([_table(size, width) for size in sizes])

    def forward(self, batch: SequenceBatch) -> Tensor:
        """Return what is to be added, ``[B, L, D]``."""
        columns = self.codes(batch).unbind(dim=-1)
        vectors: list[Tensor] = [table(codes_BL) for table, codes_BL in zip(self.tables, columns, strict=True)]
        return torch.stack(vectors).sum(dim=0)


@dataclass(frozen=True)
class Bag:
    """Facts of the items as codes: item ``i`` has ``codes[offsets[i]:offsets[i + 1]]``; none where nothing is known.

    ``offsets`` is int64 ``[I + 1]`` and ``codes`` int64 ``[K]``.
    """

    offsets: NDArray[np.int64]
    codes: NDArray[np.int64]

    @classmethod
    def empty(cls, items: int) -> Bag:
        """Return the facts of items that nothing is known of."""
        return cls(np.zeros(items + 1, dtype=np.int64), np.empty(0, dtype=np.int64))

    @classmethod
    def of_codes(cls, codes_I: NDArray[np.integer]) -> Bag:
        """Return one fact an item, none where its code is negative."""
        known = codes_I >= 0
        return cls(np.concatenate([[0], np.cumsum(known)]).astype(np.int64), codes_I[known].astype(np.int64))

    @classmethod
    def of_matrix(cls, member_IK: sparse.csr_matrix) -> Bag:
        """Return the columns that each item's row marks."""
        return cls(member_IK.indptr.astype(np.int64), member_IK.indices.astype(np.int64))

    @property
    def size(self) -> int:
        """How many codes there may be: one more than the largest."""
        return int(self.codes.max(initial=0)) + 1


class ItemInputConfig(InputConfig):
    """Base of inputs that are added to the vector of each item, in the history and as what is foretold."""

    def facts(self, catalog: Catalog) -> Bag:
        """Return what the catalogue says of each item."""
        raise NotImplementedError

    def build(self, width: int, facts: Bag) -> ItemInput:
        """Build the module for vectors of ``width``; it keeps the facts."""
        return ItemInput(facts, facts.size, width)


class ItemInput(nn.Module):
    """The mean of the learned vectors of an item's codes; zero for an item without any."""

    offsets: Tensor
    codes: Tensor

    def __init__(self, facts: Bag, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("offsets", torch.tensor(facts.offsets))
        self.register_buffer("codes", torch.tensor(facts.codes))
        self.weight = nn.Parameter(torch.empty(size, width))
        nn.init.normal_(self.weight, std=_INIT_STD)

    def forward(self, items_N: Tensor | None = None) -> Tensor:
        """Return what is to be added to the items of int64 codes ``items_N``, ``[N, D]``; to all without any."""
        codes, offsets = (self.codes, self.offsets) if items_N is None else self._of(items_N)
        added: Tensor = F.embedding_bag(codes, self.weight, offsets, mode="mean", include_last_offset=True)
        return added

    def _of(self, items_N: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes and offsets as those of some items would be if there were no others."""
        first_N = self.offsets[items_N]
        count_N = self.offsets[items_N + 1] - first_N
        offsets = F.pad(count_N.cumsum(0), (1, 0))
        owner = torch.repeat_interleave(count_N)
        place = torch.arange(len(owner), device=owner.device) - offsets[owner]
        return self.codes[first_N[owner] + place], offsets


def log_buckets(values: Tensor, size: int) -> Tensor:
    """Return codes 1, 2, ... of values by powers of two: 0, then 1 to 2, then 3 to 6, and so on up to ``size - 1``."""
    # frexp is exact, so that a GPU that trains and a CPU that serves agree.
    exponent = torch.frexp(values.clamp(min=0).to(torch.float32) + 1).exponent
    return exponent.to(torch.int64).clamp(max=size - 1)


def _table(size: int, width: int) -> nn.Embedding:
    table = nn.Embedding(size, width, padding_idx=UNKNOWN_CODE)
    with torch.no_grad():
        table.weight.normal_(std=_INIT_STD)[UNKNOWN_CODE] = 0
    return table
