"""Processes that train one encoder together: each takes a share of every batch, and all take the same step.

They meet through ``torch.distributed``, which whoever starts them sets up; without it a process trains alone, and
nothing here costs or changes anything. Each process holds the whole histories.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from foveate.encoder.batch import Spans


@dataclass(frozen=True)
class Team:
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
    def current(cls) -> Team:
        """Return the team that ``torch.distributed`` has brought together, or this process alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def agree(self, device: torch.device) -> None:
        """Bring every process's generator to where that of the first stands, so that all draw the same batches."""
        if self.size > 1:
            state = torch.get_rng_state().to(device)
            dist.broadcast(state, src=0)
            torch.set_rng_state(state.cpu())

    def part(self) -> None:
        """Let every process draw dropout and negatives of its own from here on; call it where all agree."""
        if self.size > 1:
            torch.manual_seed(int(torch.randint(2**62, ())) + self.rank)

    def share(self, spans: Spans) -> Spans:
        """Return this process's part of a batch; empty where the batch holds fewer spans than the team processes."""
        return Spans(spans.start_B[self.rank :: self.size], spans.length_B[self.rank :: self.size])

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by the mean over the team; a process without one counts as zero."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.requires_grad:
                grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                dist.all_reduce(grad)
                parameter.grad = grad / self.size

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a value over the team."""
        if self.size > 1:
            dist.all_reduce(value)
        return value
