"""Processes that train one encoder together: each takes a share of every batch, and all take the same step.

They meet through ``torch.distributed``, which whoever starts them sets up; without it a process trains alone, and
nothing here costs or changes anything. Each process holds the whole histories, or those of its own viewers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from foveate.encoder.batch import Spans
from foveate.encoder.training.device import random_state, set_random_state


@dataclass(frozen=True)
class Held:
    """Where a process that holds the events of some viewers finds what lies elsewhere among those of all.

    Parameters
    ----------
    all_U, own_U
        int64 ``[U + 1]``: viewer ``u`` owns the rows ``offsets[u]:offsets[u + 1]`` among the events of all viewers, and
        among those that this process holds.
    """

    all_U: Tensor
    own_U: Tensor

    def own(self, spans: Spans) -> Spans:
        """Return the spans of the viewers whose events this process holds, as they lie among these."""
        # A viewer without events begins where the next one does: the last that begins there is the one that has some.
        viewer_B = torch.searchsorted(self.all_U, spans.start_B, right=True) - 1
        mine_B = self.own_U.diff()[viewer_B] > 0
        viewer_B, start_B = viewer_B[mine_B], spans.start_B[mine_B]
        return Spans(start_B - self.all_U[viewer_B] + self.own_U[viewer_B], spans.length_B[mine_B])


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together.

    Parameters
    ----------
    rank
        Which of them this one is, from 0.
    size
        How many they are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> ProcessGroup:
        """Return the team that ``torch.distributed`` has brought together, or this process alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def agree(self, device: torch.device) -> None:
        """Bring every process's generators to where those of the first stand, so that all draw the same batches."""
        if self.size > 1:
            states = {name: state.to(device) for name, state in random_state(device).items()}
            for state in states.values():
                dist.broadcast(state, src=0)
            set_random_state({name: state.cpu() for name, state in states.items()}, device)

    @contextmanager
    def apart(self, device: torch.device) -> Iterator[None]:
        """Let every process draw dropout and negatives of its own within the block; before and after it, all agree."""
        if self.size == 1:
            yield
            return
        agreed = random_state(device)
        torch.manual_seed(int(torch.randint(2**62, ())) + self.rank)
        yield
        set_random_state(agreed, device)

    def share(self, spans: Spans, held: Held | None = None) -> Spans:
        """Return this process's part of a batch, which may be empty.

        Parameters
        ----------
        held
            The viewers whose events this process holds, whose spans are then its part; None where it holds all.
        """
        if held is None:
            return Spans(spans.start_B[self.rank :: self.size], spans.length_B[self.rank :: self.size])
        return held.own(spans)

    def average(self, parameters: Iterable[nn.Parameter], own: Sequence[nn.Parameter] = ()) -> None:
        """Replace each gradient by the mean over the team; a process without one counts as zero.

        Parameters
        ----------
        own
            Those of the parameters that this process alone holds, whose gradients stay as they are.
        """
        if self.size == 1:
            return
        for parameter in _without(parameters, own):
            if parameter.requires_grad:
                grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                dist.all_reduce(grad)
                parameter.grad = grad / self.size

    def clip(self, parameters: Sequence[nn.Parameter], own: Sequence[nn.Parameter], longest: float) -> None:
        """Cut the gradient of all that the team holds to this length.

        Parameters
        ----------
        parameters
            Those of this process.
        own
            Those of them that this process alone holds: of each process's own the gradient has a part more.
        """
        norm = get_total_norm([one.grad for one in _without(parameters, own) if one.grad is not None])
        if own:
            alone = get_total_norm([one.grad for one in own if one.grad is not None])
            norm = (norm**2 + self.total(alone**2)).sqrt()
        clip_grads_with_norm_(parameters, longest, norm)

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a value over the team."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def least(self, value: Tensor) -> Tensor:
        """Return the smallest of a value over the team."""
        if self.size > 1:
            dist.all_reduce(value, dist.ReduceOp.MIN)
        return value


def _without(parameters: Iterable[nn.Parameter], own: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if all(parameter is not one for one in own)]
