"""The seam of schedulers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from ray.tune.schedulers import TrialScheduler

from foveate.core.registry import Registry, Variant
from foveate_tune.space import SearchSpace


@dataclass(frozen=True)
class Trials:
    """What a scheduler has before it.

    Parameters
    ----------
    time_attr
        What trials report from 1 to at most ``steps``.
    count, concurrent, workers
        How many trials, how many of them may run at once, and how many processes run one together.
    space, learns
        Where their settings come from, and whether the searcher learns from the trials that have ended.
    seed
        Of whatever the scheduler draws.
    """

    time_attr: str
    steps: int
    count: int
    concurrent: int
    workers: int
    space: SearchSpace
    learns: bool
    seed: int


@runtime_checkable
class Paced(Protocol):
    """A scheduler that pauses trials, and so has to say itself when another may be started."""

    def full(self) -> bool:
        """Whether as many trials run as may."""
        ...


class SchedulerConfig(Variant):
    """Base of the schedulers' frozen configs; each file of this package that defines one adds a scheduler."""

    variants: ClassVar[Registry[SchedulerConfig]]

    def build(self, trials: Trials) -> TrialScheduler:
        """Make the scheduler; the metric and its direction come from the sweep.

        Raises
        ------
        ConfigError
            It cannot schedule these trials.
        """
        raise NotImplementedError

    def expected(self, steps: int) -> float:
        """Return how many steps a trial is let take on average."""
        return float(steps)

    def recall(self, scheduler: TrialScheduler, trial_id: str, reports: Sequence[Mapping[str, Any]]) -> None:
        """Tell a scheduler that was made anew what a trial had reported before; what remembers nothing needs nothing.

        Parameters
        ----------
        scheduler
            What :meth:`build` made; Ray has told it the metric.
        trial_id
            Ray's name of the trial, the one that goes on or one that is over.
        """
        del scheduler, trial_id, reports


SchedulerConfig.variants = Registry("scheduler", SchedulerConfig, "foveate_tune.schedulers")
