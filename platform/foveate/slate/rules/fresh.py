"""Places kept for what was published lately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.slate.inputs import SlateInput
from foveate.slate.rules.base import Floor


@dataclass(frozen=True, kw_only=True)
class Fresh(Floor):
    """At least ``least`` items that were published within ``days`` before the request.

    An item without a date is not fresh, and under a clock that is order only none is.
    """

    name: ClassVar[str] = "fresh"

    days: float = 7.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.days > 0:
            raise ConfigError(f"days must be above 0, got {self.days}")

    @property
    def label(self) -> str:
        return f"at least {self.least} of the last {self.days:g} days"

    def members(self, ranked: SlateInput) -> NDArray[np.bool_]:
        """``[N]``: which candidates are fresh."""
        # NaN is not below anything.
        return np.asarray(ranked.age_days <= self.days)
