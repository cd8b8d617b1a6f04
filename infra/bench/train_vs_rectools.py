"""Train Foveate's encoder beside RecTools' SASRec, eSASRec or HSTU: rows a second, NDCG@10 by epoch and by time.

Both train on the same log (leave-one-out: what lies before each viewer's last item but one; that item is what both must
foretell, and the test is never read) with the same width, blocks, heads, window and dropout, by a sampled softmax.
RecTools takes 128 sequences a step; Foveate takes as many rows as 128 sequences hold on average, so that both take as
many steps an epoch. A row is a target that is not padding. RecTools draws 256 negatives for each row, Foveate 2,048
that the rows of a step share, and each has a learning rate of its own; KEY=VALUE changes Foveate's side, such as
train.negatives=256. RecTools attends as SASRec does and matches by dot products; Foveate's mixer and scorer are its
own defaults. eSASRec is SASRec with LiGR layers; HSTU attends by relative position alone, for the log has no times.

The side that has trained less goes on, so both have a like share of whatever else the machine does. Encoding and
ranking the viewers is not part of the time; one and the same code ranks the whole catalogue without what a viewer has
seen.

RecTools pins numpy below 2: it gets a virtual environment of its own, with this environment's version of torch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from foveate.core.overrides import apply_overrides
from foveate.data.fitting import FitContext
from foveate.retrieval.base import SourceConfig
from lab.held_out import BEAUTY, REPOSITORY, full_ranking, leave_one_out, open_or_import, real_data

BENCH = Path(__file__).resolve().parent
RECTOOLS = "rectools[torch]==0.19.*"
SPEED_GOAL, QUALITY_GOAL = 8.0, 1.0
FROM_SECONDS = 120.0

WIDTH, BLOCKS, HEADS, WINDOW, DROPOUT, SEQUENCES = 64, 2, 2, 50, 0.2, 128
NEGATIVES_A_ROW, NEGATIVES_A_STEP = 256, 2048
RECTOOLS_RATE, FOVEATE_RATE = 1e-3, 2e-3


@dataclass(frozen=True)
class Point:
    """What a side came to after an epoch; ``seconds`` of training so far."""

    epoch: int
    seconds: float
    rows_per_second: float
    metrics: dict[str, float]


@dataclass
class Side:
    """A training in a process of its own that takes an epoch when told to.

    ``command`` prints a line of JSON an epoch and then waits for ``go``. ``vectors`` is the folder where it leaves its
    vectors, if it does not measure itself.
    """

    name: str
    command: Sequence[str]
    log: Path
    context: FitContext
    vectors: Path | None = None
    points: list[Point] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    @property
    def seconds(self) -> float:
        return self.points[-1].seconds if self.points else 0.0

    def epoch(self) -> None:
        """Let it train one more epoch."""
        if self.process is None:
            self.process = self._start()
        else:
            self._tell("go")
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended early:\n{self.log.read_text()[-2000:]}")
        epoch = json.loads(line)
        metrics = self._measured() or {name: epoch[name] for name in ("ndcg@10", "recall@10")}
        point = Point(epoch["epoch"], self.seconds + epoch["seconds"], epoch["rows"] / epoch["seconds"], metrics)
        self.points.append(point)
        print(
            f"{self.name:9s} epoch {point.epoch:3d}  {point.seconds:7.1f} s  {point.rows_per_second:9,.0f} rows/s  "
            f"NDCG@10 {metrics['ndcg@10']:.4f}",
            flush=True,
        )

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate("stop\n", timeout=60)

    def at(self, seconds: float) -> float:
        """NDCG@10 after so many seconds of training, 0 before the first epoch's end."""
        reached = [point.metrics["ndcg@10"] for point in self.points if point.seconds <= seconds]
        return reached[-1] if reached else 0.0

    def speed(self) -> float:
        return statistics.median(point.rows_per_second for point in self.points)

    def _start(self) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        with self.log.open("w") as log:
            return subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=log, text=True, cwd=BENCH)

    def _tell(self, word: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        print(word, file=self.process.stdin, flush=True)

    def _measured(self) -> dict[str, float]:
        if self.vectors is None:
            return {}
        users, items = np.load(self.vectors / "users.npy"), np.load(self.vectors / "items.npy")
        return full_ranking(users, items, self.context, most=len(users))


def race(sides: Sequence[Side], seconds: float, epochs: int) -> None:
    """Let the side that has trained less go on, until both have trained for so long and for so many epochs."""
    try:
        while behind := [side for side in sides if side.seconds < seconds or len(side.points) < epochs]:
            min(behind, key=lambda side: side.seconds).epoch()
    finally:
        for side in sides:
            side.close()


def rectools_python(scratch: Path) -> Path:
    """Return the Python of an environment that holds RecTools, made once."""
    folder = scratch / "rectools-0.19"
    done = folder / "installed"
    if not done.exists():
        print(f"installing {RECTOOLS} in {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        # Another build of torch would cost gigabytes, and the comparison its meaning.
        packages = [RECTOOLS, f"torch=={torch.__version__.partition('+')[0]}"]
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *packages], check=True)
        done.touch()
    return folder / "bin" / "python"


def rectools_settings() -> dict[str, Any]:
    return {
        "n_factors": WIDTH,
        "n_blocks": BLOCKS,
        "n_heads": HEADS,
        "session_max_len": WINDOW,
        "dropout_rate": DROPOUT,
        "lr": RECTOOLS_RATE,
        "loss": "sampled_softmax",
        "n_negatives": NEGATIVES_A_ROW,
        "batch_size": SEQUENCES,
    }


def foveate_settings(context: FitContext, threads: int, overrides: Sequence[str]) -> dict[str, Any]:
    rows = np.maximum(np.diff(context.histories.offsets) - 1, 0)
    batch = round(SEQUENCES * float(rows[rows > 0].mean()))
    mixer = {"name": "filtered", "heads": HEADS}
    encoder = {"width": WIDTH, "blocks": BLOCKS, "max_len": WINDOW, "dropout": DROPOUT, "mixer": mixer}
    train = {"batch_size": batch, "negatives": NEGATIVES_A_STEP, "learning_rate": FOVEATE_RATE, "threads": threads}
    whole = {"epochs": 1_000_000, "patience": 0, "validation_viewers": context.histories.n_users}
    return apply_overrides(
        {"name": "attention", "encoder": encoder, "train": {**train, **whole}}, overrides, SourceConfig
    )


def figures(ours: Side, theirs: Side, name: str = "train_vs_rectools") -> list[tuple[str, float, float]]:
    """Return name, value and goal of each ratio; the quality ratios are the smallest at any epoch and at any time."""
    ratios = [(f"{name}_rows", ours.speed() / theirs.speed(), SPEED_GOAL)]
    pairs = zip(ours.points, theirs.points, strict=False)
    # A rival that has found nothing yet is no measure.
    at_epochs = [a.metrics["ndcg@10"] / b.metrics["ndcg@10"] for a, b in pairs if b.metrics["ndcg@10"]]
    if at_epochs:
        ratios.append((f"{name}_ndcg_by_epoch", min(at_epochs), QUALITY_GOAL))
    end = min(ours.seconds, theirs.seconds)
    changes = [FROM_SECONDS, *(point.seconds for side in (ours, theirs) for point in side.points)]
    times = [time for time in changes if FROM_SECONDS <= time <= end and theirs.at(time)]
    if times:
        by_time = min(ours.at(time) / theirs.at(time) for time in times)
        ratios.append((f"{name}_ndcg_by_time", by_time, QUALITY_GOAL))
    return ratios


def prepared(parquet: Path, scratch: Path, viewers: int) -> tuple[Path, FitContext]:
    """Return the dataset's folder and what both sides learn from, which is also left as arrays for RecTools."""
    frame = pl.read_parquet(parquet)
    some = frame.filter(pl.col("user").rank("dense") <= viewers) if viewers else frame
    some.write_parquet(scratch / "rows.parquet")
    dataset = open_or_import(scratch / "rows.parquet", scratch)
    assert dataset.path is not None
    context = leave_one_out(dataset, seed=0)
    histories = context.histories
    np.savez(scratch / "history.npz", offsets=histories.offsets, items=histories.items, n_items=histories.n_items)
    return dataset.path, context


def sides(options: argparse.Namespace, scratch: Path, parquet: Path) -> tuple[Side, Side]:
    folder, context = prepared(parquet, scratch, options.viewers)
    settings = foveate_settings(context, options.threads, options.overrides)
    seed = ["--seed", str(options.seed)]
    command = [sys.executable, "-m", "lab.foveate_side", str(folder), json.dumps(settings), *seed]
    ours = Side("foveate", command, scratch / "foveate.log", context)
    python = str(rectools_python(options.scratch))
    model = ["--model", options.rival, "--threads", str(options.threads)]
    there = [str(scratch), json.dumps(rectools_settings()), *seed, *model]
    command = [python, str(BENCH / "lab" / "rectools_side.py"), *there]
    return ours, Side(options.rival, command, scratch / "rectools.log", context, vectors=scratch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--minutes", type=float, default=10.0, help="each side trains at least so long")
    parser.add_argument("--epochs", type=int, default=1, help="and for at least so many epochs")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of either side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rival", choices=["sasrec", "esasrec", "hstu"], default="sasrec", help="which of RecTools'")
    parser.add_argument("--viewers", type=int, default=0, help="take only so many viewers, to try it out; 0 takes all")
    scratch_help = "folder for RecTools' environment, kept (about 1.5 GB)"
    parser.add_argument("--scratch", type=Path, default=REPOSITORY / "runs" / "bench", help=scratch_help)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of Foveate's side")
    options = parser.parse_args()
    parquet = real_data() / BEAUTY
    if not parquet.is_file():
        print(f"skipped: there is no {parquet}; set FOVEATE_DATA to the folder that holds {BEAUTY}")
        return
    options.scratch = options.scratch.resolve()
    options.scratch.mkdir(parents=True, exist_ok=True)
    # Both sides' processes take their number of threads from here.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        ours, theirs = sides(options, Path(scratch), parquet)
        race((ours, theirs), 60 * options.minutes, options.epochs)
    rival = "" if options.rival == "sasrec" else f"_{options.rival}"
    ratios = figures(ours, theirs, f"train_vs_rectools{rival}")
    if options.json:
        goals = [{"name": name, "value": value, "goal": f">= {goal:g}"} for name, value, goal in ratios]
        points = {side.name: [asdict(point) for point in side.points] for side in (ours, theirs)}
        facts = {"torch": torch.__version__, "threads": options.threads, "commands": [ours.command, theirs.command]}
        options.json.write_text(json.dumps({"ratios": goals, "points": points, **facts}, indent=2) + "\n")
    for name, value, goal in ratios:
        print(f"ratio {name} {value:.2f} goal >= {goal:g}")


if __name__ == "__main__":
    main()
