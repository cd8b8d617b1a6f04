"""No scheduler: every trial trains to its end."""

from __future__ import annotations

from dataclasses import dataclass

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from foveate_tune.schedulers.base import SchedulerConfig


@dataclass(frozen=True)
class Unstopped(SchedulerConfig):
    """Stops nobody."""

    name = "none"

    def build(self, time_attr: str, epochs: int) -> TrialScheduler:
        """Make the scheduler."""
        del time_attr, epochs
        return FIFOScheduler()  # type: ignore[no-untyped-call]
