"""What a sweep is told: all of it in one strict config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from foveate.core.config import check_seed
from foveate.recommend.recipe import Recipe
from foveate_cluster.resources import Resources, check_custom
from foveate_tune.levels.base import Level
from foveate_tune.schedulers.asha import Asha
from foveate_tune.schedulers.base import SchedulerConfig
from foveate_tune.searchers.base import SearcherConfig
from foveate_tune.searchers.random import RandomSearcher


def _default_settings() -> dict[str, Any]:
    return {"encoder": {"width": [32, 64]}, "train": {"learning_rate": {"log_uniform": [1e-3, 1e-2]}}}


@dataclass(frozen=True)
class SearchConfig:
    """Where to look, and how.

    Parameters
    ----------
    searcher
        How settings are proposed: ``random``, ``grid`` or ``optuna``.
    mixers, scorers
        Names to choose from; empty takes every variant that is known. Each brings the search space of its own
        settings, which are drawn only where it was chosen.
    losses
        Likewise; empty searches none and keeps the recipe's own.
    settings
        Further settings of the ``attention`` source, laid out as its own are, each with its domain: a list of values,
        or one of ``{uniform: [low, high]}``, ``{log_uniform: [low, high]}``, ``{int_range: [low, high]}``. A setting of
        a mixer, scorer or loss takes the place of that variant's own domain, where a searched one has it.
    """

    searcher: SearcherConfig = field(default_factory=RandomSearcher)
    mixers: tuple[str, ...] = ()
    scorers: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=_default_settings)


@dataclass(frozen=True)
class TrackingConfig:
    """What Weights & Biases is told, and what is written for TensorBoard.

    Parameters
    ----------
    mode
        ``auto``: online where a key is set, else offline. ``offline``: files under ``SWEEP/wandb`` alone. ``none``:
        no Weights & Biases.
    project, group
        Where the runs are filed; a group that is left out is the name of the sweep's folder.
    tags
        What the runs are marked with, besides what they are: trial, sweep or bundle, and simulated.
    tensorboard
        Whether ``SWEEP/tensorboard`` gets TensorBoard's files.
    """

    mode: Literal["auto", "offline", "none"] = "auto"
    project: str = "foveate"
    group: str | None = None
    tags: tuple[str, ...] = ()
    tensorboard: bool = True


def _default_level() -> Level:
    return Level.variants["encoder"]()


@dataclass(frozen=True)
class SweepConfig:
    """All that a sweep needs besides its output folder.

    Parameters
    ----------
    data
        Dataset folder.
    level
        What is tuned: the encoder, or the slate on top of one.
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
        Most seconds of a trial: it stops after the epoch in which they are over.
    seed
        Of the search and of every trial.
    checkpoints
        How many of the trials that have ended keep the checkpoint of their best epoch: the best ones. A trial that runs
        keeps its newest and its best one.
    """

    data: Path | None = None
    level: Level = field(default_factory=_default_level)
    recipe: Recipe = field(default_factory=Recipe)
    search: SearchConfig = field(default_factory=SearchConfig)
    scheduler: SchedulerConfig = field(default_factory=Asha)
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
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

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
