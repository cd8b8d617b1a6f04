"""Item vectors that the processes of a team share out, for a catalogue whose table is larger than one of them holds.

Each process keeps the rows of its own items, with their gradients and the optimizer's state. A look-up asks the owners
for the rows of its distinct items, and on the way back brings them what it learned of these rows, which adds up there.
Item codes alternate between processes, so that neighbours of like age and popularity lie with different owners. Source
of sharding by rows: Ivchenko et al., TorchRec: a PyTorch Domain Library for Recommendation Systems (2022).

Whole in every process remain what there is of an item beside its vector, some bytes each (counts, facts of the
catalogue), the item inputs' weights, and all else that an encoder is made of. A table is drawn whole when a training
begins, and gathered to be measured, saved and returned: then it lies in the host's memory, never on the device.

Legend of tensor names: ``I`` items, ``S`` the rows of a process, ``K`` distinct items of a look-up, ``A`` items that
others ask for, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from foveate.core.errors import TrainingError
from foveate.data.events import Histories
from foveate.encoder.auxiliaries.base import Step
from foveate.encoder.batch import EventArrays, Spans
from foveate.encoder.distributed.process_group import ProcessGroup
from foveate.encoder.embedding.lookup import Lookup
from foveate.encoder.embedding.mapped import MappedEncoder
from foveate.encoder.embedding.table import Table
from foveate.encoder.model import SequenceEncoder
from foveate.encoder.trained import TrainedEncoder
from foveate.encoder.training.device import random_state, set_random_state
from foveate.encoder.training.objective import Objective

_ITEMS = "items.weight"
_GATHERED = 65_536
"""Rows of each process that pass the device together on their way to the host."""


@dataclass(frozen=True)
class ShardLayout:
    """The layout of items: process ``r`` of ``size`` owns the codes ``r``, ``r + size``, ``r + 2 size``, ...

    Parameters
    ----------
    processes
        The processes.
    n_items
        How many items there are.
    """

    processes: ProcessGroup
    n_items: int

    @property
    def longest(self) -> int:
        """Rows of the process that has most."""
        return -(-self.n_items // self.processes.size)

    def cut(self, whole_ID: Tensor) -> Tensor:
        """Return ``[S, D]``: a copy of this process's rows of a table."""
        if len(whole_ID) != self.n_items:
            raise ValueError(f"a table of {len(whole_ID)} items, not of {self.n_items}")
        return whole_ID[self.processes.rank :: self.processes.size].clone()

    def whole(self, own_SD: Tensor, *, keep: bool = True) -> Tensor:
        """Return ``[I, D]`` in the host's memory: the rows of all processes, which all have to call it.

        Parameters
        ----------
        keep
            Whether this process wants them; one that does not returns no row.
        """
        size, width = self.processes.size, own_SD.shape[1]
        whole_ID = torch.empty(self.n_items if keep else 0, width, dtype=own_SD.dtype)
        for start in range(0, self.longest, _GATHERED):
            stop = min(start + _GATHERED, self.longest)
            held = own_SD[start:stop]
            # The last row of a stripe may be missing; all send as many.
            part = F.pad(held.detach(), (0, 0, 0, stop - start - len(held)))
            parts = part.new_empty(size, *part.shape)
            dist.all_gather(list(parts.unbind()), part)
            if keep:
                rows = parts.transpose(0, 1).reshape(-1, width)
                place = whole_ID[start * size : stop * size]
                place.copy_(rows[: len(place)])
        return whole_ID


class _Traded(torch.autograd.Function):
    """Rows given to each process for rows taken from each; gradients go the same way back.

    There they add up, and like the gradients of what every process holds they count as a mean over the team.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, given: list[int], taken: list[int]) -> Tensor:
        ctx.given, ctx.taken = given, taken
        return _traded(rows, given, taken)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _traded(grad / len(ctx.given), ctx.taken, ctx.given), None, None


def _traded(rows: Tensor, given: list[int], taken: list[int]) -> Tensor:
    came = rows.new_empty(sum(taken), *rows.shape[1:])
    dist.all_to_all_single(came, rows.contiguous(), taken, given)
    return came


@dataclass(frozen=True)
class ShardedTable(Lookup):
    """The item vectors as they stand in one step, with every process that owns some.

    All processes look up at the same time, as often as one another; one that needs nothing looks up no code.

    Parameters
    ----------
    layout
        The layout of items.
    model
        The encoder; of its item vectors it has the rows of this process.
    look
        Looks codes up among the stripes of a model.
    """

    layout: ShardLayout
    model: SequenceEncoder
    look: Callable[[ShardLayout, SequenceEncoder, Tensor], Tensor]

    def of(self, codes: Tensor) -> Tensor:
        """Return the vectors of items, ``[..., D]``; each item is asked for once."""
        return self.look(self.layout, self.model, codes)

    def every(self) -> Tensor:
        """Refuse: no process has all of them."""
        raise TrainingError("item vectors that are shared out (train.shard_items) cannot be read all at once")


def _look_up(layout: ShardLayout, model: SequenceEncoder, codes: Tensor) -> Tensor:
    size, longest = layout.processes.size, layout.longest
    # Sorted by owner and row: in the order in which they are asked for and come.
    key_K, place = torch.unique(codes % size * longest + codes // size, return_inverse=True)
    owner_K, row_K = key_K // longest, key_K % longest
    asked = torch.bincount(owner_K, minlength=size)
    wanted = torch.empty_like(asked)
    dist.all_to_all_single(wanted, asked)
    taken, given = asked.tolist(), wanted.tolist()
    row_A = _traded(row_K, taken, given)
    own_KD = _Traded.apply(F.embedding(row_A, model.items.weight), given, taken)  # type: ignore[no-untyped-call]
    return F.embedding(place, model.known_by(own_KD, row_K * size + owner_K))


class ShardedItems(Table):
    """The item vectors of a model in training, of which this process keeps its stripe.

    Parameters
    ----------
    model
        The encoder that learns, with all vectors as they were drawn; it is left with those of this process.
    processes
        The processes.
    """

    def __init__(self, model: SequenceEncoder, processes: ProcessGroup) -> None:
        super().__init__(model)
        self.layout = ShardLayout(processes, len(model.items.weight))
        model.items.weight = nn.Parameter(self.layout.cut(model.items.weight.detach()))
        self._lookups: int | None = None
        # Collectives stay out of compiled kernels. Only who needs it imports torch's compiler, which takes a second.
        self._look = torch.compiler.disable(_look_up)  # type: ignore[no-untyped-call]

    @property
    def own(self) -> Sequence[nn.Parameter]:
        """The rows of this process."""
        return [cast("nn.Parameter", self.model.items.weight)]

    def lookup(self) -> Lookup:
        """Return the item vectors as they stand now."""
        return ShardedTable(self.layout, self.model, self._look)

    def idle(self, objective: Objective) -> Tensor:
        """Return 0, for a process that has no rows of a batch but the vectors of items that others look up."""
        if self._lookups is None:
            self._lookups = _lookups(self.model, objective, self.layout.n_items)
        items = self.lookup()
        nothing = torch.empty(0, dtype=torch.int64, device=self.model.items.weight.device)
        return torch.stack([items.of(nothing).sum() for _ in range(self._lookups)]).sum()

    def trained(self, model: SequenceEncoder) -> TrainedEncoder:
        """Return what answers by the weights of ``model``, on the host; all processes have to call it."""
        arrays = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
        arrays[_ITEMS] = self.layout.whole(model.items.weight).numpy()
        return MappedEncoder.restore(model.config, arrays)

    def whole(self, tensors: Mapping[str, Tensor], names: Sequence[str], *, keep: bool) -> Mapping[str, Tensor]:
        """Return tensors with tables gathered from all processes, which all have to call it."""
        return {
            name: self.layout.whole(value, keep=keep) if name in names else value for name, value in tensors.items()
        }

    def cut(self, tensors: Mapping[str, Tensor], names: Sequence[str]) -> Mapping[str, Tensor]:
        """Return tensors with this process's rows in the place of whole tables."""
        return {name: self.layout.cut(value) if name in names else value for name, value in tensors.items()}


class _Counted(Lookup):
    """Item vectors that are all zero, and how often they were looked up."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lookups = 0

    def of(self, codes: Tensor) -> Tensor:
        self.lookups += 1
        return torch.zeros(*codes.shape, self.width, device=codes.device)

    def every(self) -> Tensor:
        raise NotImplementedError


def _lookups(model: SequenceEncoder, objective: Objective, n_items: int) -> int:
    """Return how often a step looks items up, whatever its batch holds: tried on one event, and nothing stays of it."""
    device = model.items.weight.device
    events = EventArrays.of(Histories.of([np.zeros(2, np.int32)], n_items), device)
    spans = Spans(*torch.tensor([[0], [1]], device=device))
    items, batch, drawn = _Counted(model.config.width), events.batch(spans), random_state(device)
    with torch.no_grad():
        states_BLD, _ = model.states(batch, items)
        objective(Step(model, batch, items, states_BLD, events.successors(spans)))
    set_random_state(drawn, device)
    return items.lookups
