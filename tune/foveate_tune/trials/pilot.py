"""Estimate of an epoch's seconds, from a few seconds of training."""

from __future__ import annotations

import time

import torch

from foveate.data.fitting import FitContext
from foveate.encoder.trained import TrainedEncoder
from foveate.encoder.training.run import Run
from foveate.encoder.training.validation import Validation
from foveate.retrieval.attention import Attention

_ASKED = 256
"""Viewers that the time of a validation is extrapolated from."""


class _Enough(Exception):  # noqa: N818 - no error: it ends the pilot
    """The pilot has run long enough."""


class _Stopwatch:
    """Ends an epoch when its time is up; the first batch, which warms up, does not count."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = 0.0
        self.epoch_seconds = 0.0

    def __call__(self, done: int, batches: int) -> None:
        now = time.perf_counter()
        if done == 1:
            self._began = now
            return
        self.epoch_seconds = (now - self._began) * batches / (done - 1)
        if now - self._began > self._seconds:
            raise _Enough


def seconds_per_epoch(source: Attention, context: FitContext, *, cpus: int, seconds: float) -> float:
    """Return about how many seconds an epoch takes with its validation; a short one is trained whole.

    Parameters
    ----------
    source
        What is trained, and how.
    cpus
        Threads to train with.
    seconds
        How long to train at most.

    Raises
    ------
    TrainingError
        It cannot be trained.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(cpus)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(context.seed)
            return _measured(Run(source.encoder, source.train, context), context, seconds)
    finally:
        torch.set_num_threads(threads)


def _measured(run: Run, context: FitContext, seconds: float) -> float:
    watch = _Stopwatch(seconds)
    began = time.perf_counter()
    try:
        run.epoch(watch)
    except _Enough:
        return watch.epoch_seconds + _validation_seconds(run, context)
    return time.perf_counter() - began


def _validation_seconds(run: Run, context: FitContext) -> float:
    if run.validation is None or context.validation is None:
        return 0.0
    few = Validation(context.histories, context.validation, _ASKED, context.seed, context.now)
    began = time.perf_counter()
    few.measure(TrainedEncoder(run.encoder, run.answering))
    return (time.perf_counter() - began) * len(run.validation.users) / len(few.users)
