"""Request input: its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foveate.core.messages import NO_TIME
from foveate.encoder.batch import SequenceBatch
from foveate.encoder.inputs.base import UNKNOWN_CODE, RequestInputConfig
from foveate.encoder.inputs.time_gap import gap_buckets

_SINCE = 32
_HOUR = 3_600_000_000
_DAY = 24 * _HOUR
_THURSDAY = 3
"""The weekday of 1 January 1970, Monday being 0."""


@dataclass(frozen=True)
class RequestTime(RequestInputConfig):
    """Seconds from the newest event to the request, by powers of two, and the request's hour and weekday in UTC.

    A server knows when it is asked. An offline protocol that asks everyone at its cut tells this input that moment, so
    a figure with it is to be reported apart from one without.
    """

    name = "request_time"
    needs_time = True
    sizes: ClassVar[tuple[int, ...]] = (_SINCE, 24 + 1, 7 + 1)

    def codes(self, batch: SequenceBatch) -> Tensor:
        """Return bucket, hour and weekday, ``[B, L, 3]``."""
        asked_BL = batch.asked_BL
        since_BL = gap_buckets(batch.times_BL, asked_BL, _SINCE)
        hour_BL = asked_BL // _HOUR % 24 + 1
        weekday_BL = (asked_BL // _DAY + _THURSDAY) % 7 + 1
        known_BL = asked_BL != NO_TIME
        clock = (torch.where(known_BL, part_BL, UNKNOWN_CODE) for part_BL in (hour_BL, weekday_BL))
        return torch.stack((since_BL, *clock), dim=-1)
