"""Training an encoder: next-item prediction at every position, early stop on validation, going on where one was."""

from __future__ import annotations

import copy
import ctypes
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from foveate.core.messages import NO_TIME
from foveate.data.fitting import FitContext, Watcher
from foveate.encoder.distributed.process_group import ProcessGroup
from foveate.encoder.model import EncoderConfig
from foveate.encoder.trained import TrainedEncoder
from foveate.encoder.training.checkpoint import load_checkpoint
from foveate.encoder.training.run import Run
from foveate.encoder.training.settings import EpochReport, TrainConfig
from foveate.encoder.trend import counts_at

__all__ = ["EpochReport", "TrainConfig", "train_encoder"]


def train_encoder(
    encoder: EncoderConfig,
    train: TrainConfig,
    context: FitContext,
    *,
    on_epoch: Callable[[EpochReport], bool] | None = None,
    resume: Path | None = None,
    seconds: float = math.inf,
) -> TrainedEncoder:
    """Train an encoder and return it as it was at its best validation metric, or at the end without one.

    Parameters
    ----------
    encoder, train
        What to train, and how.
    context
        What to learn from. With ``validation`` training stops early and the best weights are kept.
    on_epoch
        Called after each epoch; returning False ends training.
    resume
        A checkpoint that ``EpochReport.save`` wrote under the same configs and context.
    seconds
        How long to train. An epoch that they end in is cut short, measured, and the last.

    Raises
    ------
    TrainingError
        No history has two events, the loss is no longer finite, or the checkpoint does not fit.
    """
    ends_at = time.monotonic() + seconds
    watcher = context.progress if isinstance(context.progress, Watcher) else None
    _tell_of_untold_times(encoder, context)
    with _seeded(context.seed), _threads(train.threads), kept_memory():
        run = Run(encoder, train, context)
        if resume is not None:
            run.load(load_checkpoint(resume), resume)
        while not run.done:
            report = run.epoch(_shown(run, watcher) if watcher else None, ends_at=ends_at)
            if context.progress is not None:
                context.progress(str(report))
            if (on_epoch is not None and not on_epoch(report)) or run.cut_short:
                break
        if watcher:
            watcher.step(train.epochs, train.epochs)
        return run.result()


def renewed(encoder: TrainedEncoder, context: FitContext) -> TrainedEncoder:
    """Return an encoder that knows what is popular at the end of another window, and is otherwise the same."""
    if encoder.model.trend is None or context.now == NO_TIME:
        return encoder
    half_lives, processes = encoder.config.trend, ProcessGroup.current()
    _, newest_IH = counts_at(context.histories, half_lives, context.now, processes, encoder.device)
    # Everything but the counts is shared: an item table may be most of a machine's memory.
    shared = {id(own): own for own in (*encoder.model.parameters(), *encoder.model.buffers())}
    model = copy.deepcopy(encoder.model, {**shared, id(encoder.model.trend.log_IH): newest_IH})
    return TrainedEncoder(encoder.config, model, encoder.best_epoch)


def _shown(run: Run, watcher: Watcher) -> Callable[[int, int], None]:
    """Return what shows, batch by batch, how far the next epoch brings the training."""
    before, epochs = run.epochs_done, run.train.epochs
    return lambda done, batches: watcher.step(before + done / batches, epochs)


def _tell_of_untold_times(encoder: EncoderConfig, context: FitContext) -> None:
    withheld = [config.name for config in encoder.inputs if config.needs_time]
    if withheld and context.now == NO_TIME and context.progress is not None:
        context.progress(f"the clock is order only: {', '.join(withheld)} will know no time and add nothing")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Let torch's generator start from ``seed`` and put it back as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of these settings in glibc's ``malloc.h``."""
_KEPT_MMAP, _KEPT_TRIM = 1 << 30, (1 << 31) - 1
_USUAL_MMAP, _USUAL_TRIM = 1 << 25, 1 << 26
"""Bytes: as much as the C library can be told to keep, and its own limits, to which it goes back."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the C library keep what is freed, up to two gibibytes, until the block ends.

    Left alone it hands the tensors of a long history back to the kernel after every step, which clears each page of
    them again for the next: a third of a step over 8,192 events. Where the C library is another, nothing is done.
    """
    if not _settle(_KEPT_MMAP, _KEPT_TRIM):
        yield
        return
    try:
        yield
    finally:
        _settle(_USUAL_MMAP, _USUAL_TRIM)
        ctypes.CDLL(None).malloc_trim(0)


def _settle(from_kernel: int, kept: int) -> bool:
    """Set from how many bytes an allocation is the kernel's own, and how many free ones stay; False if that fails."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # In this order: set alone, the second would fix the first at 128 KiB, and every tensor would come from the kernel.
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, from_kernel)) and bool(mallopt(_TRIM_THRESHOLD, kept))
