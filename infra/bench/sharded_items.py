"""What each process of a team holds of the item vectors, and how long a step takes: whole in all of them, and sharded.

The team trains on one machine over gloo, on made-up histories, so that an exchange costs what it costs between
processes that share their cores: between machines the network decides. Bytes are those of the table's weights, their
gradients and Adam's state, and exact; seconds are the median of the steps after the first few.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
import torch.distributed as dist

from foveate.core.messages import NO_TIME
from foveate.data.catalog import Catalog
from foveate.data.events import Histories
from foveate.data.fitting import FitContext
from foveate.data.schema import ITEMS
from foveate.encoder.model import EncoderConfig
from foveate.encoder.training.run import Run
from foveate.encoder.training.settings import TrainConfig
from foveate.encoder.training.train import kept_memory

MODES = ("whole", "sharded")
WARM = 5
"""Steps that are not counted."""
EVENTS = 31
"""Of each viewer."""
MARGIN = 1.01
"""Of the share that would be even, which the longest stripe may be above."""


def held(run: Run) -> int:
    """Bytes of the item vectors, their gradients and the optimizer's state in this process."""
    weight = run.model.items.weight
    tensors = [weight, weight.grad, *run.optimizer.state[weight].values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None and tensor.dim())


def member(options: argparse.Namespace) -> dict[str, Any]:
    """Train a few steps as one process of the team; returns what it held and how long a step took."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng, train = np.random.default_rng(0), TrainConfig(device="cpu")
    rows = (options.steps + WARM) * train.batch_size
    walks = rng.integers(0, options.items, (-(-rows // (EVENTS - 1)), EVENTS)).astype(np.int32)
    histories = Histories.of(list(walks), options.items)
    context = FitContext(histories, Catalog(pl.DataFrame(schema=ITEMS)), NO_TIME, shard_items=options.mode == "sharded")
    ends: list[float] = []

    def on_step(done: int, batches: int) -> None:
        del done, batches
        ends.append(time.perf_counter())

    meet = f"file://{options.meet}"
    dist.init_process_group("gloo", init_method=meet, rank=options.rank, world_size=options.size)
    try:
        with kept_memory():
            run = Run(EncoderConfig(width=options.width), train, context)
            report = run.epoch(on_step)
    finally:
        dist.destroy_process_group()
    took = np.diff(ends)[WARM:].tolist()
    return {"bytes": held(run), "seconds": statistics.median(took), "steps": len(took), "loss": report.loss}


def run_workers(mode: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train by fresh processes that hold the item vectors one way; returns what each of them tells."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, __file__, "--mode", mode, "--meet", str(Path(scratch) / "meet")]
        for name in ("items", "width", "size", "steps"):
            command += [f"--{name}", str(getattr(options, name))]
        started = [
            subprocess.Popen([*command, "--rank", str(rank)], stdout=subprocess.PIPE, text=True)
            for rank in range(options.size)
        ]
        outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a process of the team failed")
    return [json.loads(one) for one in outputs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64, help="of the vectors")
    parser.add_argument("--size", type=int, default=2, help="how many processes train together")
    parser.add_argument("--steps", type=int, default=20, help="steps of 1,024 rows that are timed")
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("--meet", help=argparse.SUPPRESS)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        print(json.dumps(member(options)))
        return
    runs = {mode: run_workers(mode, options) for mode in MODES}
    print(f"{options.items:,} items of width {options.width}, {options.size} processes [simulated]")
    for mode, processes in runs.items():
        for rank, one in enumerate(processes):
            print(
                f"{mode:8s} process {rank + 1}: {one['bytes']:>15,} bytes, {one['seconds']:.3f} s a step, "
                f"median of {one['steps']}, loss {one['loss']:.4f}"
            )
    share = max(one["bytes"] for one in runs["sharded"]) / runs["whole"][0]["bytes"]
    slower = runs["sharded"][0]["seconds"] / runs["whole"][0]["seconds"]
    goal = MARGIN / options.size
    print(f"ratio bytes of a process {share:.3f} goal <= {goal:.3f}")
    print(f"ratio seconds a step {slower:.2f}")
    if options.json:
        figures = [{"name": "sharded_items_bytes", "value": share, "goal": f"<= {goal:.3f}"}]
        result = {"items": options.items, "width": options.width, "ratios": figures, "runs": runs}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
