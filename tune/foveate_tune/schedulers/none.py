"""No scheduler: every trial trains to its end."""

from __future__ import annotations

from dataclasses import dataclass

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from foveate_tune.schedulers.base import SchedulerConfig, Trials


@dataclass(frozen=True)
class Unstopped(SchedulerConfig):
    """Stops nobody."""

    name = "none"

    def build(self, trials: Trials) -> TrialScheduler:
        """Make the scheduler."""
        del trials
        return FIFOScheduler()  # type: ignore[no-untyped-call]
