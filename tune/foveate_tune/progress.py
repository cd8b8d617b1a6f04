"""The progress updates of a sweep: its plan, and where each trial stands."""

from __future__ import annotations

from dataclasses import dataclass

from foveate_tune.config import SweepConfig
from foveate_tune.objective import Objective
from foveate_tune.trials.record import TrialRecord


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
class TrialUpdate:
    """Where one trial stands; ``line`` is empty where that is not worth a line."""

    trial: TrialRecord
    line: str = ""
