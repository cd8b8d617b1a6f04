"""One training run: what changes from step to step, how it is measured, saved and taken up again.

Legend of tensor names: ``B`` spans, ``L`` positions, ``D`` width, ``T`` training rows (positions that are not
padding).
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foveate.data.fitting import FitContext
from foveate.encoder.batch import EventArrays, Spans, bucketed, drawn, training_spans
from foveate.encoder.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer
from foveate.encoder.content import Content
from foveate.encoder.inputs.base import ItemInputConfig
from foveate.encoder.losses.base import Loss
from foveate.encoder.model import EncoderConfig, SequenceEncoder
from foveate.encoder.settings import METRIC, EpochReport, TrainConfig
from foveate.encoder.trained import TrainedEncoder
from foveate.encoder.validation import Validation
from foveate.errors import TrainingError
from foveate.messages import NO_TIME


class Run:
    """A training run between two epochs."""

    def __init__(self, encoder: EncoderConfig, train: TrainConfig, context: FitContext) -> None:
        self.encoder, self.train = encoder, train
        device = _device(train.device)
        timed = context.now != NO_TIME
        self.events = EventArrays.of(context.histories, device, timed=timed)
        self.offsets = torch.tensor(context.histories.offsets, dtype=torch.int64, device=device)
        if not bool((self.offsets.diff() > 1).any()):
            raise TrainingError("no viewer has two positive events: there is no next item to learn from")
        counts = np.bincount(context.histories.items, minlength=context.histories.n_items)
        content = Content.of(encoder.inputs_of(ItemInputConfig), context.catalog, counts)
        self.model = SequenceEncoder(encoder, context.histories.n_items, content, timed=timed).to(device)
        self.loss: Loss = train.loss.build(torch.tensor(counts, dtype=torch.float32), train.negatives).to(device)
        self.optimizer = torch.optim.AdamW(
            [*self.model.parameters(), *self.loss.parameters()],
            lr=train.learning_rate,
            weight_decay=train.weight_decay,
            fused=True,
        )
        self.validation = _validation(context, train.validation_viewers)
        self.epochs_done = 0
        self.best_epoch, self.best_metric = 0, -math.inf
        self.best: dict[str, Tensor] = {}

    @property
    def done(self) -> bool:
        """Whether another epoch is not worth it."""
        if self.epochs_done >= self.train.epochs:
            return True
        waited = self.epochs_done - self.best_epoch
        return self.validation is not None and 0 < self.train.patience <= waited

    def epoch(self) -> EpochReport:
        """Pass once over the histories and measure."""
        self.model.train()
        spans = training_spans(self.offsets, self.encoder.max_len)
        if self.train.epoch_rows:
            spans = drawn(spans, self.train.epoch_rows)
        start, rows = time.perf_counter(), int(spans.length_B.sum())
        total = torch.zeros((), device=self.offsets.device)
        for index in bucketed(spans, self.train.batch_size):
            picked = spans.take(index)
            total += self._step(picked) * picked.length_B.sum()
        loss = float(total) / rows
        seconds = time.perf_counter() - start
        self.epochs_done += 1
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} in epoch {self.epochs_done}: lower learning_rate or set gradient_norm, such as 1"
            )
        return EpochReport(self.epochs_done, loss, self._measure(), rows / seconds, self.save)

    def _step(self, spans: Spans) -> Tensor:
        """Take one step; returns the loss without waiting for it."""
        batch = self.events.batch(spans)
        item_ID = self.model.item_vectors()
        states_BLD, _ = self.model.states(batch, item_ID)
        user_TD = states_BLD[batch.valid_BL] if batch.padded else states_BLD.flatten(0, 1)
        target_T = self.events.successors(spans)
        loss: Tensor = self.loss(user_TD, target_T, item_ID, self.model.score)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.train.gradient_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.train.gradient_norm)
        self.optimizer.step()
        return loss.detach()

    def _measure(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        metrics = self.validation.measure(TrainedEncoder(self.encoder, self.model))
        if metrics[METRIC] > self.best_metric:
            self.best_metric, self.best_epoch = metrics[METRIC], self.epochs_done
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        return metrics

    def result(self) -> TrainedEncoder:
        """Return the encoder at its best."""
        if self.best:
            self.model.load_state_dict(self.best)
        return TrainedEncoder(self.encoder, self.model, self.best_epoch or self.epochs_done)

    def save(self, path: Path) -> None:
        """Write all that the next epoch depends on."""
        groups = {
            "model": self.model.state_dict(),
            "loss": self.loss.state_dict(),
            "best": self.best,
            "optimizer": optimizer_tensors(self.optimizer),
        }
        tensors = {f"{group}.{name}": value for group, own in groups.items() for name, value in own.items()}
        tensors |= {f"random.{name}": value for name, value in _random_state(self.offsets.device).items()}
        best_metric = self.best_metric if self.best else None
        facts = {"epochs_done": self.epochs_done, "best_epoch": self.best_epoch, "best_metric": best_metric}
        Checkpoint(tensors, facts).save(path)

    def load(self, checkpoint: Checkpoint, path: Path) -> None:
        """Go back to where a checkpoint was written."""
        try:
            self.model.load_state_dict(checkpoint.group("model"))
            self.loss.load_state_dict(checkpoint.group("loss"))
            restore_optimizer(self.optimizer, checkpoint.group("optimizer"))
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise TrainingError(f"checkpoint '{path}' is of another encoder or data set: {reason}") from error
        _set_random_state(checkpoint.group("random"), self.offsets.device)
        self.best = checkpoint.group("best")
        self.epochs_done = int(checkpoint.facts["epochs_done"])
        self.best_epoch = int(checkpoint.facts["best_epoch"])
        best_metric = checkpoint.facts["best_metric"]
        self.best_metric = -math.inf if best_metric is None else float(best_metric)


def _validation(context: FitContext, viewers: int) -> Validation | None:
    if context.validation is None:
        return None
    validation = Validation(context.histories, context.validation, viewers, context.seed, context.now)
    return validation if len(validation.users) else None


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"device '{name}' cannot be used: {str(error).splitlines()[0]}") from error


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
