"""An encoder that several processes train, each on the histories of its own viewers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.data.fitting import FitContext
from foveate.data.worker_group import Keep, WorkerGroup
from foveate.encoder.model import EncoderConfig
from foveate.encoder.trained import TrainedEncoder
from foveate.encoder.training.settings import EpochReport, TrainConfig
from foveate.encoder.training.train import train_encoder

_CHECKPOINT = "encoder.safetensors"


@dataclass(frozen=True)
class _Trained:
    """An encoder on its way back from the process that trained it."""

    arrays: Mapping[str, NDArray[np.generic]]
    best_epoch: int


@dataclass(frozen=True)
class _Training:
    """What every process does."""

    encoder: EncoderConfig
    train: TrainConfig

    def __call__(self, context: FitContext, keep: Keep, resume: Path | None) -> _Trained:
        def on_epoch(report: EpochReport) -> bool:
            keep(lambda folder: report.save(folder and folder / _CHECKPOINT))
            return True

        kept = resume / _CHECKPOINT if resume else None
        trained = train_encoder(self.encoder, self.train, context, on_epoch=on_epoch, resume=kept)
        return _Trained(trained.arrays(), trained.best_epoch)


def train_together(
    encoder: EncoderConfig, train: TrainConfig, context: FitContext, worker_group: WorkerGroup
) -> TrainedEncoder:
    """Train an encoder as :func:`foveate.encoder.training.train.train_encoder` does, by several processes.

    A step takes the same training rows as in one process, and its gradient is the mean over all of them; negatives and
    dropout each process draws for itself.

    Raises
    ------
    FoveateError
        So many processes cannot be had, one of them failed too often, or the encoder cannot be trained.
    """
    trained: _Trained = worker_group(_Training(encoder, train), context)
    restored = TrainedEncoder.restore(encoder, trained.arrays)
    restored.best_epoch = trained.best_epoch
    return restored
