"""A share of all places for a group of creators, kept on average over requests without remembering any."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import floor
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.data.vocabulary import UNKNOWN
from foveate.slate.inputs import SlateInput
from foveate.slate.rules.base import Groups, Rule
from foveate.slate.rules.small_channel import OfSmallChannels


@dataclass(frozen=True, kw_only=True)
class ExposureFloor(Rule):
    """Base of the rules that give a group of creators at least a share ``share`` of the places.

    A share is seldom whole places: of 0.15 of 10 places every slate keeps one, and a second one is drawn for half of
    them by the request's seed. So the expected number of kept places is ``share`` times the places, nothing has to be
    remembered from request to request, and the same request gets the same slate again. All places count alike,
    whatever attention each gets. Where the group's candidates run out, a hard floor leaves its places empty.
    Source: exposure of groups as a constraint in expectation over rankings that are drawn is that of Singh and
    Joachims, Fairness of exposure in rankings (KDD 2018), section 3; the rounding is that of Raghavan and Thompson,
    Randomized rounding (1987), section 1.
    """

    share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.share < 1.0:
            raise ConfigError(f"share must lie between 0 and 1, got {self.share}")

    def members(self, ranked: SlateInput) -> NDArray[np.bool_]:
        """``[N]``: which candidates are of the group."""
        raise NotImplementedError

    def drawn(self, seed: int) -> Rule:
        """Return the rule with what a request draws for it, apart from what it draws for others."""
        return _Drawn(soft=self.soft, rule=self, chance=random.Random(f"{seed}/{self.label}").random())

    def groups(self, ranked: SlateInput, slots: int) -> Groups:
        """Limit the others; only whole places are kept."""
        return self.groups_at(ranked, slots, 0.0)

    def groups_at(self, ranked: SlateInput, slots: int, chance: float) -> Groups:
        """Limit the others; parts of a place round up where they exceed 1 less ``chance``."""
        kept = floor(self.share * slots + chance)
        return Groups(~self.members(ranked)[None, :], slots - kept)


@dataclass(frozen=True, kw_only=True)
class _Drawn(Rule):
    """A rule of exposure for one request."""

    rule: ExposureFloor
    chance: float

    @property
    def label(self) -> str:
        return self.rule.label

    def groups(self, ranked: SlateInput, slots: int) -> Groups:
        return self.rule.groups_at(ranked, slots, self.chance)


@dataclass(frozen=True, kw_only=True)
class ExposureOfSmall(OfSmallChannels, ExposureFloor):
    """At least a share ``share`` of places for small channels: fewer than ``quantile`` of all channels are smaller."""

    name: ClassVar[str] = "exposure_of_small"

    @property
    def label(self) -> str:
        return f"a share of {self.share:g} for {self.group}"


@dataclass(frozen=True, kw_only=True)
class ExposureOfChannels(ExposureFloor):
    """At least a share ``share`` of places for the channels of a list."""

    name: ClassVar[str] = "exposure_of_channels"

    channels: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.channels:
            raise ConfigError("channels must name at least one")

    @property
    def label(self) -> str:
        return f"a share of {self.share:g} for the channels {', '.join(self.channels)}"

    def members(self, ranked: SlateInput) -> NDArray[np.bool_]:
        """``[N]``: which candidates are of these channels."""
        codes = ranked.channels.encode(self.channels)
        return np.isin(ranked.channel, codes[codes != UNKNOWN])
