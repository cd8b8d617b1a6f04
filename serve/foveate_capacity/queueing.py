"""The load that a plan is made for, and the figures of a plan with their origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from foveate.core.errors import ConfigError

How: TypeAlias = Literal["measured", "simulated", "calculated"]


@dataclass(frozen=True)
class Load:
    """What is asked for.

    Parameters
    ----------
    qps
        Requests a second.
    items, viewers
        Videos of the catalogue, and viewers whose histories are kept.
    gpu
        A kind of GPU that scores the videos; empty for none.
    utilisation
        Share of what a replica can do at most that it is to do, with one node lost.
    deadline_s
        Seconds that a request has.
    """

    qps: float
    items: int
    viewers: int
    gpu: str = ""
    utilisation: float = 0.6
    deadline_s: float = 2.0
    largest_batch: int = 32

    def __post_init__(self) -> None:
        if self.qps <= 0 or self.items < 1 or self.viewers < 0:
            raise ConfigError("a plan needs --qps above 0, --items of 1 or more, and --viewers of 0 or more")
        if not 0 < self.utilisation < 1:
            raise ConfigError(f"--utilisation must lie between 0 and 1, got {self.utilisation}")


@dataclass(frozen=True)
class Line:
    """One line of a plan: a figure, and how it came about."""

    about: str
    """What part of the plan it belongs to."""
    what: str
    value: float
    unit: str
    how: How
    why: str = ""
