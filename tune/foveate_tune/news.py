"""The progress updates of a sweep: its plan, and where each trial stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import Objective

RUNNING: Final = "running"
"""The state of a trial that has not ended."""


@dataclass(frozen=True)
class SweepPlan:
    """What lies ahead.

    Parameters
    ----------
    trials
        How many there will be at most.
    slots
        How many may run at once.
    steps
        How often a trial reports at most.
    first
        What trials are ordered by.
    """

    trials: int
    slots: int
    steps: int
    first: Objective

    line: str = ""

    @classmethod
    def of(cls, config: SweepConfig, trials: int) -> SweepPlan:
        """Return what a sweep of so many trials has before it."""
        return cls(trials, config.concurrent, config.level.steps(config), config.level.figures[0])


@dataclass(frozen=True)
class TrialNews:
    """Where one trial stands.

    Parameters
    ----------
    trial
        Its name.
    state
        ``RUNNING``, or how it ended.
    epoch, seconds
        How many steps it has reported, and how long it has worked for them.
    latest, best
        Its newest figures and those of its best step; empty before the first.
    rows_per_second
        How fast it trains, None where the level does not say.
    settings
        What it tries, in a few words.
    line
        The same in words; empty where the news is not worth a line.
    """

    trial: str
    state: str
    epoch: int
    seconds: float
    latest: Mapping[str, Any]
    best: Mapping[str, Any]
    rows_per_second: float | None
    settings: str
    line: str = ""


News: TypeAlias = SweepPlan | TrialNews
