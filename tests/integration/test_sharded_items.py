"""Item vectors shared out over the processes that train together: what a team learns that holds them whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.core.messages import NO_TIME
from foveate.data.catalog import Catalog
from foveate.data.fitting import FitContext
from foveate.data.schema import ITEM_ID, ITEMS
from foveate.data.worker_group import WorkerGroupConfig
from foveate.encoder.losses.full_softmax import FullSoftmax
from foveate.encoder.model import EncoderConfig
from foveate.encoder.training.checkpoint import load_checkpoint
from foveate.encoder.training.run import Run
from foveate.encoder.training.settings import EpochReport
from foveate.encoder.training.train import TrainConfig, train_encoder
from foveate.recommend.recipe import Recipe

VIEWERS, N_ITEMS = 24, 13
"""No number of processes divides the items; nobody watched the last one."""
PLAIN: Mapping[str, Any] = {"encoder": {"width": 16, "blocks": 1, "max_len": 8, "dropout": 0.1}}
QUICK: Mapping[str, Any] = {"epochs": 2, "batch_size": 64, "learning_rate": 0.03, "negatives": 6, "patience": 0}
CASES: Mapping[str, Any] = {
    # A batch is one viewer or two: most processes have no part in it, and some only now and then.
    "idle": {**PLAIN, "train": {**QUICK, "batch_size": 6, "auxiliaries": ["like", "contrastive"]}},
    "all": {
        "encoder": {**PLAIN["encoder"], "inputs": ["channel", "title"]},
        "train": {
            **QUICK,
            "loss": {"name": "gbce", "popularity": 0.5},
            "auxiliaries": [{"name": "contrastive", "view": "mask"}, "watch_time", "like"],
            "gradient_norm": 0.05,
            "average": 0.8,
            "weight_decay": 0.1,
        },
    },
}


def told(checkerboard: Any) -> FitContext:
    """The checkerboard with one item more, and a catalogue that knows channels and titles of most items."""
    facts = {
        ITEM_ID: [f"v{code}" for code in range(N_ITEMS)],
        "channel": [None if code == 4 else f"channel {code % 3}" for code in range(N_ITEMS)],
        "title": [None if code == 7 else f"The {code}th film, part {code % 2}" for code in range(N_ITEMS)],
    }
    blanks = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in ITEMS.items() if name not in facts]
    catalog = Catalog(pl.DataFrame(facts).with_columns(blanks))
    histories = replace(checkerboard.histories.take(np.arange(VIEWERS)), n_items=N_ITEMS)
    return FitContext(histories, catalog, NO_TIME, validation=checkerboard.answers[:VIEWERS])


def configs(case: str) -> tuple[EncoderConfig, TrainConfig]:
    return from_dict(EncoderConfig, CASES[case]["encoder"]), from_dict(TrainConfig, CASES[case]["train"])


def _member(rank: int, size: int, context: FitContext, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    try:
        for case in CASES:
            for name, shard_items in (("whole", False), ("sharded", True)):
                _trained(case, replace(context, shard_items=shard_items), Path(folder) / f"{case}-{name}", rank)
        _kept(replace(context, shard_items=True), Path(folder), rank, size)
    finally:
        dist.destroy_process_group()


def _trained(case: str, context: FitContext, place: Path, rank: int) -> None:
    """Train, keep what comes of it, and go on from the checkpoint of the first epoch."""
    reports: list[EpochReport] = []

    def on_epoch(report: EpochReport) -> bool:
        reports.append(report)
        if report.epoch == 1:
            report.save(None if rank else place.with_suffix(".safetensors"))
        return True

    encoder = train_encoder(*configs(case), context, on_epoch=on_epoch)
    figures = [[report.loss, *report.metrics.values()] for report in reports]
    place.with_suffix(f".{rank}.json").write_text(json.dumps(figures))
    np.savez(f"{place}.{rank}.npz", **encoder.arrays())
    dist.barrier()
    resumed = train_encoder(*configs(case), context, resume=place.with_suffix(".safetensors"))
    np.testing.assert_array_equal(resumed.item_vectors, encoder.item_vectors)


def _kept(context: FitContext, folder: Path, rank: int, size: int) -> None:
    """Note the rows that this process keeps of whatever has a row an item."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        run = Run(*configs("all"), context)
        run.epoch()
    weight = run.model.items.weight
    kept = [weight, weight.grad, run.best["items.weight"], *run.optimizer.state[weight].values()]
    rows = {len(tensor) for tensor in kept if tensor is not None and tensor.dim()}
    assert rows == {len(range(rank, N_ITEMS, size))}
    encoder, train = configs("all")
    with pytest.raises(ConfigError, match="the loss 'full_softmax' reads every item's vector"):
        Run(encoder, replace(train, loss=FullSoftmax()), context)
    (folder / f"kept.{rank}").touch()


@pytest.fixture(scope="module", params=[2, 3])
def folder(request: pytest.FixtureRequest, checkerboard: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What so many processes made, each case with whole item vectors and with sharded ones."""
    made = tmp_path_factory.mktemp("team")
    size = request.param
    # Forked, for a fresh process could not import this file by its name.
    with pytest.MonkeyPatch.context() as few_at_once:
        few_at_once.setattr("foveate.encoder.embedding.sharded._GATHERED", 2)
        mp.start_processes(_member, (size, told(checkerboard), str(made)), nprocs=size, start_method="fork")
    assert len(list(made.glob("kept.*"))) == size
    return made


@pytest.mark.parametrize("case", CASES)
def test_a_team_learns_the_same_whether_its_item_vectors_are_whole_or_sharded(folder: Path, case: str) -> None:
    [whole, *_] = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{case}-whole.*.json"))]
    sharded = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{case}-sharded.*.json"))]
    assert len(sharded) >= 2
    for figures in sharded:
        np.testing.assert_allclose(figures, whole, rtol=1e-3)
    before = np.load(folder / f"{case}-whole.0.npz")
    for path in folder.glob(f"{case}-sharded.*.npz"):
        after = np.load(path)
        assert set(after) == set(before)
        for name in before:
            np.testing.assert_allclose(after[name], before[name], atol=3e-4, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_is_whole_and_any_number_of_processes_goes_on_from_it(
    folder: Path, case: str, checkerboard: Any
) -> None:
    whole, sharded = (folder / f"{case}-{name}.safetensors" for name in ("whole", "sharded"))
    before, after = load_checkpoint(whole), load_checkpoint(sharded)
    assert set(after.tensors) == set(before.tensors)
    for name, value in before.tensors.items():
        torch.testing.assert_close(after.tensors[name], value, atol=1e-5, rtol=1e-3, msg=name)
    ends = [train_encoder(*configs(case), told(checkerboard), resume=path) for path in (whole, sharded)]
    np.testing.assert_allclose(ends[1].item_vectors, ends[0].item_vectors, atol=1e-3)


def test_a_loss_that_reads_every_item_is_refused_before_anything_is_trained() -> None:
    full = {"name": "attention", "train": {"loss": "full_softmax"}}
    with pytest.raises(ConfigError, match=r"^train\.shard_items: the loss 'full_softmax' reads every item's vector"):
        from_dict(Recipe, {"sources": [full], "train": {"workers": 2, "shard_items": True}})
    from_dict(Recipe, {"sources": [full], "train": {"workers": 2}})
    with pytest.raises(ConfigError, match=r"^train\.shard_items: 1 workers have nobody to share"):
        WorkerGroupConfig(workers=1, shard_items=True)
