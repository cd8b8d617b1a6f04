"""Training an encoder from start to end: it learns, it repeats, it goes on, and it refuses what it cannot do."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foveate.core.config import from_dict
from foveate.core.errors import TrainingError
from foveate.core.messages import NO_TIME
from foveate.data.events import Histories
from foveate.data.fitting import FitContext
from foveate.encoder.heads.base import HeadConfig
from foveate.encoder.losses.base import LossConfig
from foveate.encoder.model import EncoderConfig
from foveate.encoder.trained import TrainedEncoder
from foveate.encoder.training.run import Run
from foveate.encoder.training.train import EpochReport, TrainConfig, train_encoder

ENCODER = EncoderConfig(width=32, dropout=0.1)
TRAIN = TrainConfig(epochs=25, batch_size=32, learning_rate=5e-3, patience=0, threads=1)


def reports(context: FitContext, encoder: EncoderConfig = ENCODER, **changes: Any) -> list[EpochReport]:
    seen: list[EpochReport] = []
    train = dataclasses.replace(TRAIN, **changes)
    train_encoder(encoder, train, context, on_epoch=lambda report: seen.append(report) is None)
    return seen


def undated(items: list[int]) -> Histories:
    return Histories.of([np.array(items, dtype=np.int32)], 12)


@pytest.mark.parametrize(
    ("loss", "head"),
    [*((loss, None) for loss in LossConfig.variants), *(("sampled_softmax", head) for head in HeadConfig.variants)],
)
def test_it_learns_the_checkerboard(checkerboard: Any, loss: str, head: str | None) -> None:
    encoder = dataclasses.replace(ENCODER, head=HeadConfig.variants[head]() if head else None)
    seen = reports(checkerboard.context(), encoder, loss=LossConfig.variants[loss]())
    assert seen[-1].metrics["ndcg@10"] > 0.95
    assert seen[-1].loss < seen[0].loss / 2
    assert all(report.rows_per_second > 0 for report in seen)
    assert [report.epoch for report in seen] == list(range(1, 26))


def test_a_seed_repeats_and_another_differs(checkerboard: Any) -> None:
    first, again, other = (
        [(r.loss, r.metrics) for r in reports(checkerboard.context(seed), epochs=3)] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_an_epoch_in_which_the_seconds_end_is_cut_short_measured_and_the_last(checkerboard: Any) -> None:
    seen: list[EpochReport] = []
    context = checkerboard.context()
    run = Run(ENCODER, dataclasses.replace(TRAIN, batch_size=8), context)
    steps: list[tuple[int, int]] = []
    report = run.epoch(lambda done, batches: steps.append((done, batches)), ends_at=time.monotonic())
    assert run.cut_short
    assert [done for done, _ in steps] == [1]
    assert steps[0][1] > 1
    assert report.metrics
    trained = train_encoder(ENCODER, TRAIN, context, on_epoch=lambda one: seen.append(one) is None, seconds=0)
    assert [one.epoch for one in seen] == [1]
    assert trained.best_epoch == 1


def test_training_leaves_the_callers_randomness_and_threads_alone(checkerboard: Any) -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    reports(checkerboard.context(), epochs=1, threads=2 if threads == 1 else 1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("patience", [0, 2])
def test_a_run_goes_on_to_the_same_loss(checkerboard: Any, tmp_path: Path, patience: int) -> None:
    train = dataclasses.replace(TRAIN, epochs=6, patience=patience)
    context = checkerboard.context()
    whole: list[EpochReport] = []

    def keep(report: EpochReport) -> bool:
        whole.append(report)
        report.save(tmp_path / f"{report.epoch}.safetensors")
        return True

    straight = train_encoder(ENCODER, train, context, on_epoch=keep)
    torch.manual_seed(99)
    rest: list[EpochReport] = []
    resumed = train_encoder(
        ENCODER, train, context, on_epoch=lambda r: rest.append(r) is None, resume=tmp_path / "2.safetensors"
    )
    assert [(r.epoch, r.loss, r.metrics) for r in rest] == [(r.epoch, r.loss, r.metrics) for r in whole[2:]]
    assert resumed.best_epoch == straight.best_epoch
    for name, value in straight.arrays().items():
        np.testing.assert_array_equal(resumed.arrays()[name], value)


def test_it_stops_when_told_to(checkerboard: Any) -> None:
    seen: list[int] = []
    train_encoder(ENCODER, TRAIN, checkerboard.context(), on_epoch=lambda r: seen.append(r.epoch) or r.epoch < 2)
    assert seen == [1, 2]


def test_it_stops_early_and_keeps_the_best(checkerboard: Any) -> None:
    context = checkerboard.context()
    seen: list[EpochReport] = []
    train = dataclasses.replace(TRAIN, patience=2)
    encoder = train_encoder(ENCODER, train, context, on_epoch=lambda r: seen.append(r) is None)
    metrics = [report.metrics["ndcg@10"] for report in seen]
    assert len(seen) == encoder.best_epoch + 2
    assert metrics[encoder.best_epoch - 1] == max(metrics)
    # The weights are those of the best epoch: training no further gives the same ones.
    shorter = train_encoder(ENCODER, dataclasses.replace(train, epochs=encoder.best_epoch), context)
    for name, value in shorter.arrays().items():
        np.testing.assert_array_equal(encoder.arrays()[name], value)


def test_without_validation_every_epoch_is_trained(checkerboard: Any) -> None:
    news: list[str] = []
    context = dataclasses.replace(checkerboard.context(), validation=None, progress=news.append)
    encoder = train_encoder(ENCODER, dataclasses.replace(TRAIN, epochs=3, patience=1), context)
    assert encoder.best_epoch == 3
    assert [line.split(":")[0] for line in news] == ["epoch 1", "epoch 2", "epoch 3"]
    assert all("rows/s" in line for line in news)


def test_inputs_that_need_a_time_say_so_where_there_is_none(checkerboard: Any) -> None:
    news: list[str] = []
    encoder = from_dict(EncoderConfig, {"width": 16, "inputs": ["time_gap", "channel", "request_time"]})
    context = dataclasses.replace(checkerboard.context(), progress=news.append)
    train_encoder(encoder, dataclasses.replace(TRAIN, epochs=1), context)
    assert news[0] == "the clock is order only: time_gap, request_time will know no time and add nothing"
    news.clear()
    train_encoder(encoder, dataclasses.replace(TRAIN, epochs=1), dataclasses.replace(context, now=10**15))
    assert not any("clock" in line for line in news)


def test_histories_of_every_shape_have_a_finite_answer(checkerboard: Any) -> None:
    encoder = train_encoder(
        dataclasses.replace(ENCODER, max_len=4), dataclasses.replace(TRAIN, epochs=2), checkerboard.context()
    )
    empty, one, window, longer = ([], [3], [1, 2, 3, 4], [9, 9, 9, 1, 2, 3, 4])
    scores = {len(items): encoder.scores(undated(items))[0] for items in (empty, one, window, longer)}
    assert all(np.isfinite(row).all() for row in scores.values())
    assert (scores[0] == 0).all()
    # What lies before the window is not read.
    np.testing.assert_allclose(scores[7], scores[4], atol=1e-6)


def test_uneven_histories_train_the_short_beside_the_longer_than_the_window(checkerboard: Any) -> None:
    lengths = [0, 1, 2, 40, 3, 0]
    items = np.concatenate([np.arange(n) % 12 for n in lengths]).astype(np.int32)
    histories = Histories(
        np.cumsum([0, *lengths]), items, np.full(len(items), NO_TIME), np.ones(len(items), np.float32), 12
    )
    validation = np.array([5, -1, 2, 4, -1, 1], dtype=np.int32)
    context = FitContext(histories, checkerboard.catalog, NO_TIME, validation=validation)
    seen = reports(context, dataclasses.replace(ENCODER, max_len=8))
    assert all(np.isfinite(report.loss) for report in seen)
    assert seen[-1].loss < seen[0].loss


def test_nothing_to_learn_from_is_refused(checkerboard: Any) -> None:
    lonely = Histories(np.arange(4), np.arange(3, dtype=np.int32), np.zeros(3, np.int64), np.ones(3, np.float32), 12)
    with pytest.raises(TrainingError, match="no viewer has two positive events"):
        train_encoder(ENCODER, TRAIN, FitContext(lonely, checkerboard.catalog, NO_TIME))


def test_a_loss_that_is_not_finite_ends_training(checkerboard: Any) -> None:
    train = dataclasses.replace(TRAIN, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in epoch \d+: lower learning_rate"):
        train_encoder(ENCODER, train, checkerboard.context())


def test_a_checkpoint_that_does_not_fit_is_refused(checkerboard: Any, tmp_path: Path) -> None:
    context, path = checkerboard.context(), tmp_path / "one.safetensors"
    train_encoder(ENCODER, dataclasses.replace(TRAIN, epochs=1), context, on_epoch=lambda r: r.save(path) is not None)
    with pytest.raises(TrainingError, match="of another encoder"):
        train_encoder(dataclasses.replace(ENCODER, width=16), TRAIN, context, resume=path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="cannot be read"):
        train_encoder(ENCODER, TRAIN, context, resume=path)
    with pytest.raises(TrainingError, match="cannot be read"):
        train_encoder(ENCODER, TRAIN, context, resume=tmp_path / "absent")


def test_a_device_that_is_not_there_is_refused(checkerboard: Any) -> None:
    with pytest.raises(TrainingError, match="device 'nowhere'"):
        train_encoder(ENCODER, dataclasses.replace(TRAIN, device="nowhere"), checkerboard.context())


def test_weights_of_another_encoder_are_refused(checkerboard: Any) -> None:
    trained = train_encoder(ENCODER, dataclasses.replace(TRAIN, epochs=1), checkerboard.context())
    with pytest.raises(TrainingError, match="of another encoder"):
        TrainedEncoder.restore(dataclasses.replace(ENCODER, blocks=1), trained.arrays())
