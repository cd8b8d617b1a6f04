"""What an encoder's training holds in memory: one process with all viewers, and several with a share of them each.

Every process is a fresh one that trains on a CPU; what it takes is its peak resident memory above what it took when
all was imported. Processes of a team read their own viewers from the dataset's folder and meet over gloo.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from foveate.data.dataset import open_dataset
from foveate.data.events import Histories
from foveate.data.fitting import FitContext
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.importing.stream import LogPart, read_events
from foveate.data.readers.kuairand import KuaiRandReader
from foveate.data.signals import Signals
from foveate.encoder.model import EncoderConfig
from foveate.encoder.training.train import EpochReport, TrainConfig, train_encoder
from lab.made_up_kuairand import write_kuairand

SIGNALS = Signals(positive=("watch",))
"""Every watch: the longest histories that the log has."""
SHARE_GOAL = 0.65
"""Of what one process takes: two with half of the viewers each also hold what does not shrink."""


def resident() -> float:
    """MiB of this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak() -> float:
    """MiB of this process at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_whole(data: Path) -> int:
    """Read the log as a frame of texts, and encode it then."""
    dataset = open_dataset(data)
    return len(dataset.log().encode(dataset.users(), dataset.catalog().items, SIGNALS))


def read_stream(data: Path) -> int:
    """Read the log in a stream, as a training does."""
    dataset = open_dataset(data)
    return len(read_events(dataset, dataset.catalog().items, SIGNALS))


def train(data: Path, rank: int, size: int, meet: Path, rows: int) -> dict[str, Any]:
    """Train one epoch of so many rows on this process's viewers."""
    dataset = open_dataset(data)
    catalog = dataset.catalog()
    histories = LogPart.whole(dataset, SIGNALS).histories(catalog, rank, size)
    read = {"histories_mib": resident(), "events": len(histories.items)}
    context = FitContext(histories, catalog, 0, shared=True)
    reports: list[EpochReport] = []

    def on_epoch(report: EpochReport) -> bool:
        reports.append(report)
        return True

    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=size)
    try:
        settings = TrainConfig(epochs=1, epoch_rows=rows, device="cpu")
        train_encoder(EncoderConfig(), settings, context, on_epoch=on_epoch)
    finally:
        dist.destroy_process_group()
    return {**read, "loss": reports[0].loss, "rows_per_second": reports[0].rows_per_second}


def one_process(options: argparse.Namespace) -> None:
    """Do what a parent asks of this process, and tell what it took."""
    torch.set_num_threads(1)
    # What the first use of a library takes belongs to no log.
    Histories.of([np.zeros(2, np.int32)], 1)
    before, start = resident(), time.perf_counter()
    if options.side == "train":
        results = train(options.data, options.rank, options.size, options.meet, options.epoch_rows)
    else:
        results = {"events": {"whole": read_whole, "stream": read_stream}[options.side](options.data)}
    took = {"seconds": time.perf_counter() - start, "mib": peak() - before, "before_mib": before}
    print(json.dumps({**results, **took}))


def started(data: Path, side: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--side", side, "--data", str(data), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def answers(processes: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    results = []
    for process in processes:
        out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"a process ended with status {process.returncode}")
        results.append(json.loads(out))
    return results


def run_workers(data: Path, size: int, scratch: Path, rows: int) -> list[dict[str, Any]]:
    """Train by so many processes; returns what each took."""
    meet = Path(tempfile.mkdtemp(dir=scratch)) / "meet"
    more = ("--meet", str(meet), "--size", str(size), "--epoch-rows", str(rows))
    return answers([started(data, "train", *more, "--rank", str(rank)) for rank in range(size)])


def show(what: str, one: dict[str, Any]) -> None:
    apiece = one["mib"] * 2**20 / one["events"]
    rate = f", {one['rows_per_second']:,.0f} rows/s, loss {one['loss']:.4f}" if "loss" in one else ""
    print(f"{what:22s} {one['events']:>12,} events {one['mib']:8.0f} MiB at most, {apiece:4.0f} bytes an event{rate}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the log that is made up")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2], help="how many processes train together")
    parser.add_argument("--epoch-rows", type=int, default=100_000, help="training rows of the one epoch")
    parser.add_argument("--scratch", type=Path, help="folder for the log (about 200 bytes a row)")
    parser.add_argument("--side", choices=("whole", "stream", "train"), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--meet", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        one_process(options)
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        raw = write_kuairand(Path(scratch) / "log", options.rows, seed=1)
        dataset = import_dataset(KuaiRandReader(), raw, Path(scratch) / "dataset")
        print(f"{dataset.manifest.rows['events']:,} events of {dataset.manifest.rows['viewers']:,} viewers [simulated]")
        data = Path(scratch) / "dataset"
        runs: dict[str, Any] = {}
        for side in ("whole", "stream"):
            runs[side] = answers([started(data, side)])
            show(f"read {side}", runs[side][0])
        for size in options.sizes:
            runs[f"train {size}"] = run_workers(data, size, Path(scratch), options.epoch_rows)
            for rank, one in enumerate(runs[f"train {size}"]):
                show(f"train, process {rank + 1} of {size}", one)
    first, last = (max(one["mib"] for one in runs[f"train {size}"]) for size in (options.sizes[0], options.sizes[-1]))
    share = last / first
    print(f"ratio memory of one of {options.sizes[-1]} processes {share:.2f} goal <= {SHARE_GOAL:g}")
    if options.json:
        figures = [{"name": "spread_training_memory", "value": share, "goal": f"<= {SHARE_GOAL:g}"}]
        result = {"rows": options.rows, "ratios": figures, "runs": runs}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
