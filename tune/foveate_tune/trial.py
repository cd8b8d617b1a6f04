"""One trial: runs its draw on the sweep's problem, reports every step, and may be stopped after any of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune

from foveate.errors import TrainingError
from foveate_tune.levels.base import Problem
from foveate_tune.search import NUMBER
from foveate_tune.space import Draw

EPOCH = "epoch"
"""Key of a report's step: an epoch where the level trains in epochs."""
FAILURE = "failure"
"""Why a trial could not go on, where it could not."""
TELEMETRY = ("loss", "rows_per_second", "epoch_seconds")
"""What a trial tells of its work beside the level's figures, where it knows."""


Send = Callable[[dict[str, Any], Path | None], None]
"""Tells whoever waits of a step: its metrics, and a folder with a checkpoint."""


def train_trial(config: Mapping[str, Any], *, problem: Problem, epochs: int, cpus: int) -> None:
    """Run what a draw says; Ray Tune calls this in a process of its own.

    Parameters
    ----------
    config
        The draw, with the trial's number.
    problem
        What all trials share; it comes through the object store, once a node.
    epochs
        Most steps.
    cpus
        Threads to use.
    """
    checkpoint = tune.get_checkpoint()
    reached = Reached(_send)
    draw = draw_in(config)
    try:
        if checkpoint is None:
            problem.run(draw, reached.report, steps=epochs, cpus=cpus)
            return
        with checkpoint.as_directory() as folder:
            problem.run(draw, reached.report, steps=epochs, cpus=cpus, resume=Path(folder))
    except TrainingError as error:
        tune.report(failed(problem, reached.epoch, error))


def draw_in(config: Mapping[str, Any]) -> Draw:
    """Return a trial's config without the trial's number."""
    return {key: value for key, value in config.items() if key != NUMBER}


def failed(problem: Problem, epoch: int, error: TrainingError) -> dict[str, Any]:
    """Return the last report of a trial that cannot go on after ``epoch``."""
    return {**problem.level.worst, EPOCH: epoch + 1, FAILURE: str(error)}


def _send(metrics: dict[str, Any], folder: Path | None) -> None:
    tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder) if folder else None)


class Reached:
    """How far a trial has come.

    Parameters
    ----------
    send
        Called after each step.
    """

    def __init__(self, send: Send) -> None:
        self.epoch = 0
        self._send = send
        self._since = time.perf_counter()

    def report(self, step: int, figures: Mapping[str, float], save: Callable[[Path], object] | None = None, /) -> bool:
        """Tell of a step, with the checkpoint that ``save`` writes; does not return where the trial is stopped."""
        self.epoch = step
        metrics = {**figures, EPOCH: step, "epoch_seconds": time.perf_counter() - self._since}
        if save is None:
            self._send(metrics, None)
        else:
            # Ray runs a trial in a folder of its session, which goes with it even where the trial is killed in here.
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
                save(Path(folder))
                self._send(metrics, Path(folder))
        self._since = time.perf_counter()
        return True
