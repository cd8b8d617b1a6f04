"""Event input: its kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from foveate.data.schema import EVENT_KINDS
from foveate.encoder.batch import SequenceBatch
from foveate.encoder.inputs.base import EventInputConfig


@dataclass(frozen=True)
class EventKind(EventInputConfig):
    """The kind of each event, such as a click or a long view."""

    name = "event_kind"
    sizes: ClassVar[tuple[int, ...]] = (len(EVENT_KINDS) + 1,)

    def codes(self, batch: SequenceBatch) -> Tensor:
        """Return the kinds, ``[B, L, 1]``."""
        return (batch.kinds_BL + 1)[..., None]
