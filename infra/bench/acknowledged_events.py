"""What it costs that acknowledged events survive a power cut: ``synchronous=full`` beside ``normal``.

Threads append one event each, again and again, as requests to ``POST /v1/events`` do. All sides run in turn on the same
disk, several times over; the figures are medians of rounds, and the ratio that of neighbouring rounds. A third side has
one event a transaction, in full, as without a writer that gathers them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from foveate.state.base import ViewerEvent, utc_micros
from foveate.state.sqlite.config import FileConfig
from foveate.state.sqlite.database import Database
from foveate.state.sqlite.group_commit import MOST, GroupCommit
from foveate.state.sqlite.store import insert, row_of

Side = Literal["full", "normal", "full, one by one"]
SIDES: tuple[Side, ...] = ("full", "normal", "full, one by one")
VIEWERS = 1_000
KEPT = FileConfig().most


def measured(side: Side, folder: Path, threads: int, seconds: float) -> dict[str, float]:
    """Append for some seconds; return events a second, and milliseconds until one was acknowledged."""
    config = FileConfig(synchronous="normal" if side == "normal" else "full", write_timeout_s=60)
    with Database(folder / "state.sqlite", config=config) as database, ThreadPoolExecutor(threads) as pool:
        writer = GroupCommit(database, lambda: None, 1 if side == "full, one by one" else MOST)
        until = time.perf_counter() + seconds
        waits = [wait for own in pool.map(lambda seed: _append(writer, seed, until), range(threads)) for wait in own]
        writer.close()
    return {
        "per_second": len(waits) / seconds,
        "p50_ms": float(np.quantile(waits, 0.5)) * 1e3,
        "p99_ms": float(np.quantile(waits, 0.99)) * 1e3,
    }


def _append(writer: GroupCommit, seed: int, until: float) -> list[float]:
    rng, waits = np.random.default_rng(seed), []
    while (began := time.perf_counter()) < until:
        event = ViewerEvent(f"viewer {rng.integers(VIEWERS)}", f"item {rng.integers(10_000)}", "click")
        writer.run(partial(insert, rows=[row_of(event, utc_micros())], most=KEPT))
        waits.append(time.perf_counter() - began)
    return waits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; a temporary one by default")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    rows = []
    for threads in options.threads:
        rounds: dict[Side, list[dict[str, float]]] = {side: [] for side in SIDES}
        for _ in range(options.rounds):
            for side in SIDES:
                with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
                    rounds[side].append(measured(side, Path(scratch), threads, options.seconds))
        for side, found in rounds.items():
            ratios = [one["per_second"] / full["per_second"] for one, full in zip(found, rounds["full"], strict=True)]
            medians = {name: statistics.median(one[name] for one in found) for name in found[0]}
            rows.append({"threads": threads, "side": side, **medians, "to_full": statistics.median(ratios)})
    print("| threads | synchronous | events/s | p50 | p99 | to full |\n|---:|---|---:|---:|---:|---:|")
    for row in rows:
        times = f"{row['p50_ms']:.2f} ms | {row['p99_ms']:.2f} ms"
        print(f"| {row['threads']} | {row['side']} | {row['per_second']:,.0f} | {times} | {row['to_full']:.2f} |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
