"""Settings of an encoder's training, and the report of an epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from foveate.encoder.auxiliaries.base import AuxiliaryConfig
from foveate.encoder.losses.base import LossConfig
from foveate.encoder.losses.sampled_softmax import SampledSoftmax
from foveate.encoder.training.device import Compile, Precision

METRIC = "ndcg@10"
"""What early stopping watches; higher is better."""


@dataclass(frozen=True)
class TrainConfig:
    """How an encoder is trained.

    Parameters
    ----------
    epochs
        Passes over the histories, at most; without validation exactly so many, so choose it on a window that has one.
    epoch_rows
        Training rows of an epoch, at most: of a longer log each epoch draws another part; 0 takes all.
    batch_size
        Training rows a step: events with a successor.
    learning_rate, weight_decay
        Of AdamW.
    negatives
        Items that a step contrasts with the targets, at most all; a loss over the whole catalogue ignores it.
    patience
        Epochs without a better validation metric after which training stops; 0 never stops early.
    loss
        What is minimised.
    auxiliaries
        What is learned beside the next item, each kind once; each adds its weighted loss.
    gradient_norm
        Longer gradients are cut to this length; 0 cuts none.
    average
        Share of the moving average of the weights that a step keeps, such as 0.998: what is measured and kept is then
        the average. 0 keeps the weights of the last step.
    validation_viewers
        How many viewers the validation metric is measured on, at most.
    threads
        CPU threads; 0 leaves torch's own choice. More than one pays for wide encoders on idle cores only: on small ones
        the threads wait for each other, and on a busy machine they wait long.
    device
        Where to train, such as ``cpu`` or ``cuda``; ``auto`` takes a GPU where there is one.
    precision
        Format of matrix products; ``auto`` is ``bfloat16`` on a GPU that has it and ``float32`` elsewhere.
    compile
        Whether torch's compiler fuses the encoder's kernels; ``auto`` does so on a GPU alone.
    """

    epochs: int = 10
    epoch_rows: int = 0
    batch_size: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    negatives: int = 2048
    patience: int = 5
    loss: LossConfig = field(default_factory=SampledSoftmax)
    auxiliaries: tuple[AuxiliaryConfig, ...] = ()
    gradient_norm: float = 0.0
    average: float = 0.0
    validation_viewers: int = 5000
    threads: int = 1
    device: str = "auto"
    precision: Precision = "auto"
    compile: Compile = "auto"

    def __post_init__(self) -> None:
        names = [config.name for config in self.auxiliaries]
        if len(set(names)) < len(names):
            raise ValueError(f"an auxiliary stands twice in auxiliaries: {', '.join(names)}")
        if min(self.epochs, self.batch_size, self.negatives, self.validation_viewers) < 1:
            raise ValueError("epochs, batch_size, negatives and validation_viewers must be 1 or more")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must be at least 0 and below 1, got {self.average}")
        if (
            self.learning_rate <= 0
            or min(self.weight_decay, self.patience, self.gradient_norm, self.threads, self.epoch_rows) < 0
        ):
            raise ValueError(
                "learning_rate must be above 0; weight_decay, patience, gradient_norm, threads, epoch_rows 0 or more"
            )


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to.

    Parameters
    ----------
    epoch
        Counted from 1.
    loss
        Mean over the epoch's rows, auxiliaries included.
    metrics
        Validation ``ndcg@10`` and ``recall@10`` by full ranking; empty where nothing is held out.
    rows_per_second
        Training rows a second, validation left out.
    save
        Writes a checkpoint from which ``train_encoder(resume=...)`` goes on to the same loss. Where processes share
        the item vectors out, each has to call it, for the checkpoint holds them all: one process with a path, and any
        others with None.
    """

    epoch: int
    loss: float
    metrics: dict[str, float]
    rows_per_second: float
    save: Callable[[Path | None], None]

    def __str__(self) -> str:
        metrics = "".join(f", {name} {value:.4f}" for name, value in self.metrics.items())
        return f"epoch {self.epoch}: loss {self.loss:.4f}{metrics}, {self.rows_per_second:,.0f} rows/s"
