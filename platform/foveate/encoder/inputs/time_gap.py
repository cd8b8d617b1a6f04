"""Event input: the time since the event before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foveate.core.messages import NO_TIME
from foveate.encoder.batch import SequenceBatch
from foveate.encoder.inputs.base import UNKNOWN_CODE, EventInputConfig, log_buckets

_SIZE = 32
"""The last bucket begins at 2 ** 30 seconds, 34 years."""


@dataclass(frozen=True)
class TimeGap(EventInputConfig):
    """Seconds since the viewer's event before, by powers of two; nothing for the first that is read."""

    name = "time_gap"
    needs_time = True
    sizes: ClassVar[tuple[int, ...]] = (_SIZE,)

    def codes(self, batch: SequenceBatch) -> Tensor:
        """Return the buckets, ``[B, L, 1]``."""
        before_BL = torch.full_like(batch.times_BL, NO_TIME)
        before_BL[:, 1:] = batch.times_BL[:, :-1]
        return gap_buckets(before_BL, batch.times_BL, _SIZE)[..., None]


def gap_buckets(since: Tensor, until: Tensor, size: int) -> Tensor:
    """Return codes of the seconds between two moments of UTC microseconds, ``UNKNOWN_CODE`` where one is not known."""
    known = (since != NO_TIME) & (until != NO_TIME)
    seconds = torch.where(known, until - since, 0) // 1_000_000
    return torch.where(known, log_buckets(seconds, size), UNKNOWN_CODE)
