"""The config of a sweep."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from foveate_tune.levels.base import Level
from foveate_tune.schedulers.asha import Asha
from foveate_tune.schedulers.base import SchedulerConfig
from foveate_tune.settings import SweepSettings


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
class SweepConfig(SweepSettings):
    """All that a sweep needs besides its output folder; the rest as in :class:`~foveate_tune.settings.SweepSettings`.

    Parameters
    ----------
    data
        Dataset folder.
    level
        What is tuned: the encoder, or the slate on top of one.
    scheduler
        Who may go on training, and who is stopped.
    tracking
        What is written for those who look at the sweep elsewhere.
    """

    data: Path | None = None
    level: Level = field(default_factory=_default_level)
    scheduler: SchedulerConfig = field(default_factory=Asha)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
