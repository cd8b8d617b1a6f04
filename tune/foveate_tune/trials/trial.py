"""One trial: runs its draw on the sweep's problem, reports every step, and may be stopped after any of them.

What goes wrong in a trial's own work is reported and ends it; only a process that dies is started anew.
"""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import ArrowException
from ray import tune
from safetensors import SafetensorError

from foveate.core.errors import FoveateError, StorageError
from foveate.storage.folder import reason
from foveate_tune.levels.base import Problem
from foveate_tune.searchers.base import NUMBER
from foveate_tune.trials.journal import complete, report_in
from foveate_tune.trials.record import EPOCH, FAILURE, SECONDS, STATE, STORAGE, draw_in

Send = Callable[[dict[str, Any], Path | None], None]
"""Tells whoever waits of a step: its metrics, and a folder with a checkpoint."""


@dataclass(frozen=True)
class Limits:
    """Where a trial ends at the latest: after so many steps, or after so many seconds."""

    steps: int
    seconds: float


def train_trial(
    config: Mapping[str, Any],
    *,
    problem: Problem,
    limits: Limits,
    cpus: int,
    begun: Mapping[int, tune.Checkpoint],
) -> None:
    """Run what a draw says; Ray Tune calls this in a process of its own.

    Parameters
    ----------
    config
        The draw, with the trial's number.
    problem
        What all trials share; it comes through the object store, once a node.
    limits
        Where it ends at the latest.
    cpus
        Threads to use.
    begun
        By number, checkpoints of trials that an earlier run of the sweep had begun.
    """
    checkpoint = tune.get_checkpoint() or begun.get(config[NUMBER])
    with checkpoint.as_directory() if checkpoint else nullcontext() as folder:
        run_draw(config, problem, _send, limits=limits, cpus=cpus, resume=Path(folder) if folder else None)


def run_draw(
    config: Mapping[str, Any], problem: Problem, send: Send, *, limits: Limits, cpus: int, resume: Path | None
) -> None:
    """Run what a draw says, from the checkpoint in the folder ``resume`` on, and report also why it cannot go on."""
    reached = Reached(send, report_in(resume) if resume else {})
    try:
        problem.run(
            draw_in(config),
            reached.report,
            steps=limits.steps,
            cpus=cpus,
            seconds=limits.seconds - reached.seconds,
            resume=resume,
        )
    except StorageError as error:
        send(reached.last(problem, {STORAGE: str(error)}), None)
    except FoveateError as error:
        send(reached.last(problem, {STATE: "diverged", FAILURE: str(error)}), None)
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        failure = f"{type(error).__name__}: {said}"
        send(reached.last(problem, {STATE: "failed", FAILURE: failure, "traceback": traceback.format_exc()}), None)


class Reached:
    """How far a trial has come.

    Parameters
    ----------
    send
        Called after each step.
    before
        The report that the trial goes on from, empty where it begins.
    """

    def __init__(self, send: Send, before: Mapping[str, Any]) -> None:
        self._send = send
        self._epoch = int(before.get(EPOCH, 0))
        self.seconds = float(before.get(SECONDS, 0.0))
        """As of the last report."""
        self._since = time.perf_counter()

    def report(self, step: int, figures: Mapping[str, float], save: Callable[[Path], object] | None = None, /) -> bool:
        """Tell of a step, with the checkpoint that ``save`` writes; does not return where the trial is stopped.

        Raises
        ------
        StorageError
            The checkpoint cannot be written.
        """
        self._epoch = step
        took = time.perf_counter() - self._since
        self.seconds += took
        metrics = {**figures, EPOCH: step, "epoch_seconds": took, SECONDS: self.seconds}
        if save is None:
            self._send(metrics, None)
        else:
            # Ray runs a trial in a folder of its session, which goes with it even where the trial is killed in here.
            with _storing(), tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
                save(Path(folder))
                complete(Path(folder), metrics)
                self._send(metrics, Path(folder))
        self._since = time.perf_counter()
        return True

    def last(self, problem: Problem, why: Mapping[str, Any]) -> dict[str, Any]:
        """Return the last report of a trial that cannot go on."""
        seconds = self.seconds + time.perf_counter() - self._since
        return {**problem.level.worst, EPOCH: self._epoch + 1, SECONDS: seconds, **why}


def _send(metrics: dict[str, Any], folder: Path | None) -> None:
    tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder) if folder else None)


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, ArrowException) as error:
        raise StorageError(f"a checkpoint cannot be written: {reason(error)}") from error
