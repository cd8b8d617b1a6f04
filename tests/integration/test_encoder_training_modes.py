"""Training in other ways than the plain one: averaged weights, low precision, compiled kernels, several processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from foveate.encoder.model import EncoderConfig
from foveate.encoder.trained import TrainedEncoder
from foveate.encoder.training.settings import EpochReport
from foveate.encoder.training.train import TrainConfig, train_encoder

SMALL = EncoderConfig(width=16, blocks=1, max_len=8, dropout=0.1)
QUICK = TrainConfig(epochs=12, batch_size=64, learning_rate=0.03, negatives=8, patience=0)


def trained(context: Any, **changes: Any) -> tuple[TrainedEncoder, list[EpochReport]]:
    reports: list[EpochReport] = []
    encoder = train_encoder(
        SMALL, replace(QUICK, **changes), context, on_epoch=lambda report: reports.append(report) is None
    )
    return encoder, reports


def test_the_average_is_measured_and_kept(checkerboard: Any) -> None:
    plain, _ = trained(checkerboard.context(), epochs=4)
    average, reports = trained(checkerboard.context(), epochs=4, average=0.9)
    assert not np.allclose(plain.item_vectors, average.item_vectors)
    # It trails the weights that it averages, and so lies nearer to where they began.
    assert np.abs(average.item_vectors).mean() < np.abs(plain.item_vectors).mean()
    _, longer = trained(checkerboard.context(), average=0.9)
    assert longer[-1].metrics["recall@10"] >= reports[0].metrics["recall@10"]
    assert longer[-1].metrics["ndcg@10"] > 0.9


def test_an_averaged_run_goes_on_to_the_same_weights(checkerboard: Any, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"

    def half(report: EpochReport) -> bool:
        report.save(path)
        return report.epoch < 2

    train = replace(QUICK, epochs=4, average=0.9)
    whole = train_encoder(SMALL, train, checkerboard.context())
    train_encoder(SMALL, train, checkerboard.context(), on_epoch=half)
    resumed = train_encoder(SMALL, train, checkerboard.context(), resume=path)
    np.testing.assert_array_equal(whole.item_vectors, resumed.item_vectors)


def test_low_precision_learns_the_same(checkerboard: Any) -> None:
    encoder, reports = trained(checkerboard.context(), precision="bfloat16")
    _, exact = trained(checkerboard.context(), precision="float32")
    assert encoder.item_vectors.dtype == np.float32
    assert reports[-1].metrics["ndcg@10"] == pytest.approx(exact[-1].metrics["ndcg@10"], abs=0.1)
    assert reports[0].loss == pytest.approx(exact[0].loss, rel=0.05)
    assert reports[0].loss != exact[0].loss


@pytest.mark.parametrize("settings", [{"average": 1.0}, {"average": -0.1}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="average"):
        TrainConfig(**settings)


def _member(rank: int, size: int, context: Any, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    try:
        encoder, reports = trained(context)
    finally:
        dist.destroy_process_group()
    np.save(f"{folder}/vectors-{rank}.npy", encoder.item_vectors)
    np.save(f"{folder}/figures-{rank}.npy", [[r.loss, r.metrics["ndcg@10"]] for r in reports])


@pytest.mark.parametrize("size", [2, 3])
def test_processes_that_train_together_hold_the_same_encoder(checkerboard: Any, tmp_path: Path, size: int) -> None:
    # Forked, for a fresh process could not import this file by its name.
    mp.start_processes(_member, (size, checkerboard.context(), str(tmp_path)), nprocs=size, start_method="fork")
    first, *others = [np.load(tmp_path / f"vectors-{rank}.npy") for rank in range(size)]
    figures, *same = [np.load(tmp_path / f"figures-{rank}.npy") for rank in range(size)]
    for other in others:
        np.testing.assert_array_equal(first, other)
    for other in same:
        np.testing.assert_array_equal(figures, other)
    assert figures[-1][1] > 0.9
    _, alone = trained(checkerboard.context())
    # Before the first step all have the same weights, so the first epoch's loss is near that of one process.
    assert figures[0][0] == pytest.approx(alone[0].loss, rel=0.1)
    assert torch.isfinite(torch.tensor(figures)).all()
