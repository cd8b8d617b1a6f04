"""Asynchronous successive halving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from foveate_tune.schedulers.base import SchedulerConfig, Trials

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial


@dataclass(frozen=True)
class Asha(SchedulerConfig):
    """Stops a trial that, at a rung, is not among the best ``1 / reduction`` of those that got there before it.

    Source: Li et al., A system for massively parallel hyperparameter tuning (2020), algorithm 2.

    Parameters
    ----------
    grace_epochs
        Epochs that every trial may train; also the first rung.
    reduction
        How many times further each rung lies than the one before.
    """

    name = "asha"

    grace_epochs: int = 2
    reduction: float = 2.0

    def __post_init__(self) -> None:
        if self.grace_epochs < 1:
            raise ValueError(f"grace_epochs must be 1 or more, got {self.grace_epochs}")
        if self.reduction <= 1:
            raise ValueError(f"reduction must be above 1, got {self.reduction}")

    def expected(self, steps: int) -> float:
        """Return how many steps a trial is let take on average, were each rung's best share known at once."""
        rung, share, total = min(self.grace_epochs, steps), 1.0, 0.0
        reached = 0
        while reached < steps:
            total += share * (rung - reached)
            reached, share = rung, share / self.reduction
            rung = min(steps, max(rung + 1, int(rung * self.reduction)))
        return total

    def build(self, trials: Trials) -> TrialScheduler:
        """Make the scheduler."""
        grace = min(self.grace_epochs, trials.steps)
        return ASHAScheduler(
            time_attr=trials.time_attr,
            max_t=trials.steps,
            grace_period=grace,
            reduction_factor=self.reduction,
            brackets=1,
        )

    def recall(self, scheduler: TrialScheduler, trial_id: str, reports: Sequence[Mapping[str, Any]]) -> None:
        """Put a trial on the rungs that it had reached."""
        trial = cast("Trial", SimpleNamespace(trial_id=trial_id))
        controller = cast("TuneController", None)
        scheduler.on_trial_add(controller, trial)
        for report in reports:
            scheduler.on_trial_result(controller, trial, dict(report))
