"""One trial: trains an encoder, reports every epoch, and may be stopped after any of them."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune

from foveate.encoder.train import EpochReport, train_encoder
from foveate.errors import TrainingError
from foveate_tune.problem import METRIC, Problem, source_of
from foveate_tune.search import NUMBER

EPOCH = "epoch"
LOSS = "loss"
FAILURE = "failure"
"""Why a trial could not go on, where it could not."""
WORST = {METRIC: 0.0, "recall@10": 0.0}
"""What a trial reports that cannot go on: no scheduler keeps it, and no leaderboard prefers it."""
CHECKPOINT = "encoder.safetensors"
"""The file in a trial's checkpoint folder that ``train_encoder(resume=...)`` goes on from."""


Send = Callable[[dict[str, Any], Path], None]
"""Tells whoever waits of an epoch: its metrics, and a folder with a checkpoint."""


def train_trial(config: Mapping[str, Any], *, problem: Problem, epochs: int, cpus: int) -> None:
    """Train what a draw says; Ray Tune calls this in a process of its own.

    Parameters
    ----------
    config
        The draw, with the trial's number.
    problem
        What all trials share; it comes through the object store, once a node.
    epochs
        Most epochs.
    cpus
        Threads to train with.
    """
    checkpoint = tune.get_checkpoint()
    reached = Reached(lambda metrics, folder: tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder)))
    try:
        if checkpoint is None:
            train_draw(config, problem, reached, epochs=epochs, cpus=cpus)
            return
        with checkpoint.as_directory() as folder:
            train_draw(config, problem, reached, epochs=epochs, cpus=cpus, resume=Path(folder) / CHECKPOINT)
    except TrainingError as error:
        tune.report({**WORST, EPOCH: reached.epoch + 1, FAILURE: str(error)})


def train_draw(
    config: Mapping[str, Any], problem: Problem, reached: Reached, *, epochs: int, cpus: int, resume: Path | None = None
) -> None:
    """Train what a draw says, reporting every epoch to ``reached``.

    Raises
    ------
    TrainingError
        The training cannot go on.
    """
    source = source_of({key: value for key, value in config.items() if key != NUMBER}, problem)
    # A stopped trial's settings decide how long it waits for a better epoch; the sweep decides how long it may train.
    train = dataclasses.replace(source.train, epochs=epochs, threads=cpus)
    train_encoder(source.encoder, train, problem.context, on_epoch=reached.report, resume=resume)


class Reached:
    """How far a trial has come.

    Parameters
    ----------
    send
        Called after each epoch.
    """

    def __init__(self, send: Send) -> None:
        self.epoch = 0
        self._send = send
        self._since = time.perf_counter()

    def report(self, report: EpochReport) -> bool:
        """Tell of an epoch, with a checkpoint; does not return where the trial is stopped."""
        self.epoch = report.epoch
        seconds = time.perf_counter() - self._since
        metrics = {
            **report.metrics,
            EPOCH: report.epoch,
            LOSS: report.loss,
            "rows_per_second": report.rows_per_second,
            "epoch_seconds": seconds,
        }
        # Ray runs a trial in a folder of its session, which goes with it even where the trial is killed in here.
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            report.save(Path(folder) / CHECKPOINT)
            self._send(metrics, Path(folder))
        self._since = time.perf_counter()
        return True
