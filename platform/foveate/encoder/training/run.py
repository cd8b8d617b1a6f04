"""One training run: what changes from step to step, how it is measured, saved and taken up again.

Legend of tensor names: ``B`` spans, ``L`` positions, ``D`` width, ``T`` training rows (positions that are not
padding).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from foveate.core.errors import TrainingError
from foveate.core.messages import NO_TIME
from foveate.data.fitting import FitContext
from foveate.encoder.auxiliaries.base import Step
from foveate.encoder.batch import EventArrays, Spans, bucketed, drawn, training_spans
from foveate.encoder.content import Content
from foveate.encoder.distributed.process_group import Held, ProcessGroup
from foveate.encoder.embedding.sharded import ShardedItems
from foveate.encoder.embedding.table import Table, check_shareable
from foveate.encoder.inputs.base import ItemInputConfig
from foveate.encoder.model import EncoderConfig, SequenceEncoder
from foveate.encoder.trained import TrainedEncoder
from foveate.encoder.training.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer
from foveate.encoder.training.device import compiled, device_of, number_format, random_state, set_random_state
from foveate.encoder.training.objective import Objective
from foveate.encoder.training.settings import METRIC, EpochReport, TrainConfig
from foveate.encoder.training.validation import Validation
from foveate.encoder.trend import Moments, counts_at

_AGREE_EVERY = 16
"""Steps between two questions whether time is up, where several processes train."""


class Run:
    """A training run between two epochs."""

    def __init__(self, encoder: EncoderConfig, train: TrainConfig, context: FitContext) -> None:
        self.encoder, self.train = encoder, train
        self.processes = ProcessGroup.current()
        shared_out = context.shard_items and self.processes.size > 1
        if shared_out:
            check_shareable(train.loss)
        device = device_of(train.device)
        timed = context.now != NO_TIME
        self.events = EventArrays.of(context.histories, device, timed=timed)
        self.offsets, self.held = _offsets(context, self.processes, device)
        if not bool((self.offsets.diff() > 1).any()):
            raise TrainingError("no viewer has two positive events: there is no next item to learn from")
        counts = np.bincount(context.histories.items, minlength=context.histories.n_items)
        if self.held is not None:
            counts = self.processes.total(torch.tensor(counts, device=device)).cpu().numpy()
        content = Content.of(encoder.inputs_of(ItemInputConfig), context.catalog, counts)
        self.model = SequenceEncoder(encoder, context.histories.n_items, content, timed=timed)
        self.moments = _moments(self.model, context, self.processes, device)
        # Cut before it reaches the device, which may be too small for all of it.
        self.table = ShardedItems(self.model, self.processes) if shared_out else Table(self.model)
        self.model.to(device)
        loss = train.loss.build(torch.tensor(counts, dtype=torch.float32), train.negatives)
        self.objective = Objective(loss, train.auxiliaries, encoder.width).to(device)
        self.average = averaged(self.model, train.average)
        self._states = compiled(self.model.states, train.compile, device)
        self.weights = [*self.model.parameters(), *self.objective.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.weights,
            lr=train.learning_rate,
            weight_decay=train.weight_decay,
            fused=True,
        )
        self.validation = _validation(context, train.validation_viewers, self.processes, self.offsets)
        self.epochs_done = 0
        self.cut_short = False
        self.best_epoch, self.best_metric = 0, -math.inf
        self.best: dict[str, Tensor] = {}

    @property
    def answering(self) -> SequenceEncoder:
        """The model that is measured and kept: the average of the trained one, or itself."""
        return self.model if self.average is None else cast("SequenceEncoder", self.average.module)

    @property
    def done(self) -> bool:
        """Whether another epoch is not worth it."""
        if self.epochs_done >= self.train.epochs:
            return True
        waited = self.epochs_done - self.best_epoch
        return self.validation is not None and 0 < self.train.patience <= waited

    def epoch(self, on_step: Callable[[int, int], None] | None = None, *, ends_at: float = math.inf) -> EpochReport:
        """Pass once over the histories and measure.

        Parameters
        ----------
        on_step
            Called with the number of batches that are done, and of all.
        ends_at
            When to stop in the midst of them, by the monotonic clock; sets ``cut_short``. One step is always taken.
        """
        self.model.train()
        self.processes.agree(self.offsets.device)
        spans = training_spans(self.offsets, self.encoder.max_len)
        if self.train.epoch_rows:
            spans = drawn(spans, self.train.epoch_rows)
        batches = [spans.take(index) for index in bucketed(spans, self.train.batch_size)]
        start = time.perf_counter()
        total, trained = torch.zeros((), device=self.offsets.device), len(batches)
        with self.processes.apart(self.offsets.device):
            for done, batch in enumerate(batches, start=1):
                total += self._step(batch)
                if on_step is not None:
                    on_step(done, len(batches))
                if self._is_over(ends_at, done):
                    self.cut_short, trained = done < len(batches), done
                    break
        rows = int(torch.stack([batch.length_B.sum() for batch in batches[:trained]]).sum())
        loss = float(self.processes.total(total)) / rows
        seconds = time.perf_counter() - start
        self.epochs_done += 1
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} in epoch {self.epochs_done}: lower learning_rate or set gradient_norm, such as 1"
            )
        return EpochReport(self.epochs_done, loss, self._measure(), rows / seconds, self.save)

    def _is_over(self, ends_at: float, done: int) -> bool:
        """Whether time is up. Several processes agree on it, now and then, for asking one another takes time too."""
        if self.processes.size == 1 or ends_at == math.inf:
            return time.monotonic() >= ends_at
        if done % _AGREE_EVERY:
            return False
        late = torch.tensor(float(time.monotonic() >= ends_at), device=self.offsets.device)
        return bool(self.processes.total(late) > 0)

    def _step(self, spans: Spans) -> Tensor:
        """Take one step; returns the loss, summed over this process's rows, without waiting for it."""
        own = self.processes.share(spans, self.held)
        rows = own.length_B.sum()
        self.optimizer.zero_grad(set_to_none=True)
        with number_format(self.train.precision, rows.device):
            loss = self._loss(own) if len(own) else self.table.idle(self.objective)
        if loss.requires_grad:
            # Each process's mean counts by its share of the rows, so that their mean is that of the whole batch.
            (loss * (rows * self.processes.size / spans.length_B.sum())).backward()  # type: ignore[no-untyped-call]
        self.processes.average(self.weights, self.table.own)
        if self.train.gradient_norm:
            self.processes.clip(self.weights, self.table.own, self.train.gradient_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return loss.detach() * rows

    def _loss(self, spans: Spans) -> Tensor:
        """Return what the spans' rows come to by the objective, as a mean over the rows."""
        batch = self.events.batch(spans)
        items = self.table.lookup()
        states_BLD, _ = self._states(batch, items)
        loss: Tensor = self.objective(
            Step(self.model, batch, items, states_BLD, self.events.successors(spans), self.moments)
        )
        return loss

    def _measure(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        metrics = self.validation.measure(self.table.trained(self.answering))
        if metrics[METRIC] > self.best_metric:
            self.best_metric, self.best_epoch = metrics[METRIC], self.epochs_done
            self.best = {name: value.detach().clone() for name, value in self.answering.state_dict().items()}
        return metrics

    def result(self) -> TrainedEncoder:
        """Return the encoder at its best."""
        if self.best:
            self.answering.load_state_dict(self.best)
        encoder = self.table.trained(self.answering)
        encoder.best_epoch = self.best_epoch or self.epochs_done
        return encoder

    def save(self, path: Path | None) -> None:
        """Write all that the next epoch depends on, if there is a ``path``; see :class:`EpochReport`."""
        groups = {
            "model": self.model.state_dict(),
            "objective": self.objective.state_dict(),
            "average": {} if self.average is None else self.average.state_dict(),
            "best": self.best,
            "optimizer": optimizer_tensors(self.optimizer),
        }
        tensors = {f"{group}.{name}": value for group, own in groups.items() for name, value in own.items()}
        tensors |= {f"random.{name}": value for name, value in random_state(self.offsets.device).items()}
        whole = self.table.whole(tensors, self._of_items, keep=path is not None)
        if path is None:
            return
        best_metric = self.best_metric if self.best else None
        facts = {"epochs_done": self.epochs_done, "best_epoch": self.best_epoch, "best_metric": best_metric}
        Checkpoint(whole, facts).save(path)

    @property
    def _of_items(self) -> Sequence[str]:
        """Names of what a checkpoint holds with a row an item."""
        place = next(n for n, weight in enumerate(self.weights) if weight is self.model.items.weight)
        tables = [f"{group}.items.weight" for group in ("model", "average.module", "best")]
        return [*tables, *(f"optimizer.{place}.{moment}" for moment in ("exp_avg", "exp_avg_sq"))]

    def load(self, checkpoint: Checkpoint, path: Path) -> None:
        """Go back to where a checkpoint was written."""
        try:
            checkpoint = Checkpoint(self.table.cut(checkpoint.tensors, self._of_items), checkpoint.facts)
            self.model.load_state_dict(checkpoint.group("model"))
            self.objective.load_state_dict(checkpoint.group("objective"))
            if self.average is not None:
                self.average.load_state_dict(checkpoint.group("average"))
            restore_optimizer(self.optimizer, checkpoint.group("optimizer"))
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise TrainingError(f"checkpoint '{path}' is of another encoder or data set: {reason}") from error
        set_random_state(checkpoint.group("random"), self.offsets.device)
        self.best = checkpoint.group("best")
        self.epochs_done = int(checkpoint.facts["epochs_done"])
        self.best_epoch = int(checkpoint.facts["best_epoch"])
        best_metric = checkpoint.facts["best_metric"]
        self.best_metric = -math.inf if best_metric is None else float(best_metric)


def _offsets(context: FitContext, processes: ProcessGroup, device: torch.device) -> tuple[Tensor, Held | None]:
    """Return ``[U + 1]`` where each viewer's events lie among those of all, and what of them this process holds."""
    own_U = torch.tensor(context.histories.offsets, dtype=torch.int64, device=device)
    if not context.shared:
        return own_U, None
    all_U = F.pad(processes.total(own_U.diff()).cumsum(0), (1, 0))
    return all_U, Held(all_U, own_U)


def _moments(
    model: SequenceEncoder, context: FitContext, processes: ProcessGroup, device: torch.device
) -> Moments | None:
    """Return what was popular when, and let the model know what is popular in the end, where it asks for that."""
    if model.trend is None or context.now == NO_TIME:
        return None
    moments, newest_IH = counts_at(context.histories, model.config.trend, context.now, processes, device)
    model.trend.log_IH.copy_(newest_IH)
    return moments


def _validation(context: FitContext, viewers: int, processes: ProcessGroup, offsets: Tensor) -> Validation | None:
    if context.validation is None:
        return None
    validation = Validation(
        context.histories,
        context.validation,
        viewers,
        context.seed,
        context.now,
        lengths=offsets.diff().cpu().numpy() if context.shared else None,
        processes=processes,
        device=offsets.device,
    )
    return validation if len(validation.users) else None


def averaged(model: SequenceEncoder, decay: float) -> AveragedModel | None:
    """Return what keeps the average of ``model``'s weights; None for a ``decay`` of 0.

    Parameters
    ----------
    decay
        Share of the average that a step keeps, such as 0.998; the first steps keep less, so that a short training is
        not held back by where it began. Source: Polyak and Juditsky, Acceleration of Stochastic Approximation (1992).
    """
    if not decay:
        return None

    @torch.no_grad()
    def blend(average: Sequence[Tensor], current: Sequence[Tensor], steps: Tensor | int) -> None:
        kept = min(decay, (1 + int(steps)) / (10 + int(steps)))
        torch._foreach_lerp_(list(average), list(current), 1 - kept)

    return AveragedModel(model, multi_avg_fn=blend)
