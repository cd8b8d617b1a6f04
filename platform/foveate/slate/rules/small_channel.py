"""Places kept for channels that have little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.slate.inputs import SlateInput
from foveate.slate.rules.base import Floor, Rule


@dataclass(frozen=True, kw_only=True)
class OfSmallChannels(Rule):
    """What the rules for small channels share: fewer than a share ``quantile`` of all channels are smaller.

    A channel's size is the number of its items in the catalogue. An unknown channel is not small.
    """

    quantile: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.quantile <= 1.0:
            raise ConfigError(f"quantile must lie above 0 and up to 1, got {self.quantile}")

    @property
    def group(self) -> str:
        """The channels in words."""
        return f"the smallest {100 * self.quantile:g} % of channels"

    def members(self, ranked: SlateInput) -> NDArray[np.bool_]:
        """``[N]``: which candidates are of a small channel."""
        # NaN is not below anything.
        return np.asarray(ranked.channel_standing < self.quantile)


@dataclass(frozen=True, kw_only=True)
class SmallChannel(OfSmallChannels, Floor):
    """At least ``least`` items of small channels: fewer than a share ``quantile`` of all channels are smaller."""

    name: ClassVar[str] = "small_channel"

    @property
    def label(self) -> str:
        return f"at least {self.least} of {self.group}"
