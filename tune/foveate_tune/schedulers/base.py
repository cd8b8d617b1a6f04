"""The seam of schedulers."""

from __future__ import annotations

from typing import ClassVar

from ray.tune.schedulers import TrialScheduler

from foveate.registry import Registry, Variant


class SchedulerConfig(Variant):
    """Base of the schedulers' frozen configs; each file of this package that defines one adds a scheduler."""

    variants: ClassVar[Registry[SchedulerConfig]]

    def build(self, time_attr: str, epochs: int) -> TrialScheduler:
        """Make the scheduler for trials that report ``time_attr`` from 1 to at most ``epochs``.

        The metric and its direction come from the sweep.
        """
        raise NotImplementedError


SchedulerConfig.variants = Registry("scheduler", SchedulerConfig, "foveate_tune.schedulers")
