"""Facts of a sweep that every level, searcher and scheduler may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from foveate.core.config import check_seed
from foveate.recommend.recipe import Recipe
from foveate_cluster.resources import Resources, check_custom
from foveate_tune.search import SearchConfig


@dataclass(frozen=True)
class SweepSettings:
    """How much a sweep tries, and with what.

    Parameters
    ----------
    recipe
        What stays the same in every trial. What it says of what is tuned is the first trial and the ground the others
        vary.
    trials
        How many settings are tried.
    concurrent
        How many trials may train at once; fewer where fewer fit.
    workers
        Processes that train one trial together, each on a share of every batch; more than one pays where each has a GPU
        of its own.
    cpus, gpus
        Resources of one worker; ``gpus`` is one at most and may be a fraction.
    resources
        Custom resources of one worker, by the names that the cluster's nodes give them: ``{slot: 0.5}``. An amount
        below 1 may be a fraction.
    epochs
        Most epochs of a trial.
    max_seconds
        Most seconds that a trial trains: where they end within an epoch, it ends there, is measured and is the last.
    seed
        Of the search and of every trial.
    checkpoints
        How many of the trials that have ended keep the checkpoint of their best epoch: the best ones. A trial that runs
        keeps its newest and its best one.
    """

    recipe: Recipe = field(default_factory=Recipe)
    search: SearchConfig = field(default_factory=SearchConfig)
    trials: int = 4
    concurrent: int = 2
    workers: int = 1
    cpus: int = 1
    gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 6
    max_seconds: float = 600.0
    seed: int = 0
    checkpoints: int = 8

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name in ("trials", "concurrent", "workers", "cpus", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.checkpoints < 0:
            raise ValueError(f"checkpoints must be 0 or more, got {self.checkpoints}")
        if not 0 <= self.gpus <= 1:
            raise ValueError(f"a worker takes one GPU or a fraction, got gpus={self.gpus:g}: set workers for several")
        check_custom(self.resources)
        if self.max_seconds <= 0:
            raise ValueError(f"max_seconds must be above 0, got {self.max_seconds}")

    @property
    def worker_resources(self) -> Resources:
        """What one worker of a trial takes."""
        return Resources(self.cpus, self.gpus, self.resources)
