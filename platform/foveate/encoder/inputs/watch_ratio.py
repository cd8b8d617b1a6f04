"""Event input: the share of the video that was watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from foveate.encoder.batch import SequenceBatch
from foveate.encoder.inputs.base import UNKNOWN_CODE, EventInputConfig

_TENTHS, _LONGEST = 10, 2


@dataclass(frozen=True)
class WatchRatio(EventInputConfig):
    """The watched share of each video, by tenths up to twice its length; nothing where it is not known."""

    name = "watch_ratio"
    sizes: ClassVar[tuple[int, ...]] = (_TENTHS * _LONGEST + 2,)

    def codes(self, batch: SequenceBatch) -> Tensor:
        """Return the buckets, ``[B, L, 1]``."""
        share_BL = batch.watched_BL
        tenths_BL = (share_BL.nan_to_num().clamp(0, _LONGEST) * _TENTHS).to(torch.int64)
        return torch.where(share_BL.isnan(), UNKNOWN_CODE, tenths_BL + 1)[..., None]
