"""An encoder trained by several processes, each on its own viewers: as one process trains it, whatever dies."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist
import torch.multiprocessing as mp
from ray import cloudpickle

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError, TrainingError
from foveate.data.dataset import Dataset
from foveate.data.events import Histories
from foveate.data.fitting import FitContext
from foveate.data.worker_group import Keep, WorkerGroupConfig, partition
from foveate.encoder.distributed.training import train_together
from foveate.encoder.model import EncoderConfig
from foveate.encoder.training.settings import EpochReport
from foveate.encoder.training.train import TrainConfig, train_encoder
from foveate.recommend.recipe import Recipe
from foveate.training import fit
from foveate_cluster.distributed_encoder import RayWorkerGroup
from foveate_cluster.ray_cluster import ray_cluster
from foveate_cluster.workers import worker_group_of

# Nothing is drawn but the batches: no dropout, and every item is a negative.
STILL = EncoderConfig(width=16, blocks=1, max_len=8, dropout=0.0)
QUICK = TrainConfig(epochs=4, batch_size=64, learning_rate=0.03, negatives=10_000, patience=0)
TWO = WorkerGroupConfig(workers=2)

# Workers cannot import this file by its name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def share(context: FitContext, rank: int, size: int) -> FitContext:
    """What one of several processes is given."""
    piece = partition(context.histories, size)[rank]
    return replace(context, histories=piece, shared=True)


def figures(reports: list[EpochReport]) -> list[list[float]]:
    return [[report.loss, report.metrics["ndcg@10"], report.metrics["recall@10"]] for report in reports]


def test_every_viewer_lies_whole_with_one_hand(checkerboard: Any) -> None:
    whole: Histories = checkerboard.histories
    parts = partition(whole, 3)
    assert sum(len(piece.items) for piece in parts) == len(whole.items)
    for user, own in enumerate(whole):
        held = [list(piece.items[piece.rows(user)]) for piece in parts]
        assert held.pop(user % 3) == list(own)
        assert not any(held)
    with pytest.raises(ConfigError, match=r"train\.workers: 99999 workers for \d+ viewers"):
        partition(whole, 99_999)


def _member(rank: int, size: int, context: FitContext, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    reports: list[EpochReport] = []
    try:
        own = share(context, rank, size)
        encoder = train_encoder(STILL, QUICK, own, on_epoch=lambda report: reports.append(report) is None)
    finally:
        dist.destroy_process_group()
    np.savez(f"{folder}/{rank}.npz", vectors=encoder.item_vectors, figures=figures(reports))


@pytest.mark.parametrize("size", [2, 3])
def test_processes_with_viewers_of_their_own_learn_what_one_with_all_does(
    checkerboard: Any, tmp_path: Path, size: int
) -> None:
    # Forked, for a fresh process could not import this file by its name.
    mp.start_processes(_member, (size, checkerboard.context(), str(tmp_path)), nprocs=size, start_method="fork")
    reports: list[EpochReport] = []
    alone = train_encoder(STILL, QUICK, checkerboard.context(), on_epoch=lambda report: reports.append(report) is None)
    for rank in range(size):
        made = np.load(tmp_path / f"{rank}.npz")
        np.testing.assert_allclose(made["figures"], figures(reports), rtol=1e-3)
        np.testing.assert_allclose(made["vectors"], alone.item_vectors, atol=1e-3)


@dataclass(frozen=True)
class Dying:
    """Work whose second process dies once, after two epochs; it notes from which epoch each start goes on."""

    work: Any
    notes: Path

    def __call__(self, context: FitContext, keep: Keep, resume: Path | None) -> Any:
        rank, kept, done = dist.get_rank(), self.notes / "died", 0
        (self.notes / f"{rank}-{'again' if kept.exists() else 'first'}").write_text(str(resume is not None))

        def keep_and_die(save: Any) -> None:
            nonlocal done
            keep(save)
            done += 1
            if rank == 1 and done == 2 and not kept.exists():
                kept.touch()
                # Ray Train asks its workers every two seconds what they have reported.
                time.sleep(4)
                os._exit(1)

        return self.work(context, keep_and_die, resume)


@dataclass(frozen=True)
class DyingWorkerGroup:
    """A worker_group whose work dies once."""

    worker_group: RayWorkerGroup
    notes: Path

    def __call__(self, work: Any, context: FitContext) -> Any:
        return self.worker_group(Dying(work, self.notes), context)


@pytest.mark.cluster
@pytest.mark.soak
@pytest.mark.parametrize("config", [TWO, replace(TWO, shard_items=True)], ids=["whole", "sharded"])
def test_workers_of_a_cluster_train_what_one_process_does_and_go_on_after_a_death(
    checkerboard: Any, tmp_path: Path, config: WorkerGroupConfig
) -> None:
    context: FitContext = checkerboard.context()
    alone = train_encoder(STILL, QUICK, context)
    told: list[str] = []
    notes, place = tmp_path / "notes", tmp_path / "place"
    notes.mkdir()
    with ray_cluster(None, least_cpus=2):
        worker_group = DyingWorkerGroup(RayWorkerGroup(config, place), notes)
        together = train_together(STILL, QUICK, replace(context, progress=told.append), worker_group)
        lone = replace(context, histories=Histories.of([np.array([0], np.int32)] * 4, 8), validation=None)
        with pytest.raises(TrainingError, match=r"^no viewer has two positive events"):
            train_together(STILL, QUICK, lone, RayWorkerGroup(config, place))
        with pytest.raises(ConfigError, match=r"train\.workers: 4 workers of 9 CPUs each, but the cluster has room"):
            train_together(STILL, QUICK, context, RayWorkerGroup(WorkerGroupConfig(workers=4, cpus=9)))
    np.testing.assert_allclose(together.item_vectors, alone.item_vectors, atol=1e-3)
    assert together.best_epoch == alone.best_epoch
    assert (notes / "0-again").read_text() == "True"
    assert "2 workers train together on 1 node" in told
    assert [line for line in told if line.startswith("epoch 4: ")]
    assert not list(place.iterdir()), "checkpoints go when the training ends"


def test_workers_without_a_cluster_to_ask_are_refused(small_world: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"train\.workers: 2 train over Ray, which this cannot"):
        fit(small_world, from_dict(Recipe, {"train": {"workers": 2}}))
    with pytest.raises(ConfigError, match="cpus 1 or more"):
        WorkerGroupConfig(cpus=0)


def test_the_command_line_asks_ray_where_a_recipe_has_workers(tmp_path: Path) -> None:
    assert worker_group_of(Recipe(train=TWO).train, tmp_path) == RayWorkerGroup(TWO, tmp_path)
    assert worker_group_of(Recipe().train, tmp_path) is None
