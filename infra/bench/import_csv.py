"""Import a log in KuaiRand's layout, against a bare CSV-to-Parquet stream of the same file.

Both sides run in processes of their own, one after the other and again, after a warm-up that reads the file once; the
figure is the median of the ratios of neighbouring runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.kuairand import KuaiRandReader
from lab.made_up_kuairand import write_kuairand

TIME_GOAL = 3.5
GIB_GOAL = 4.0


def bare(log: Path, out: Path) -> dict[str, float]:
    start = time.perf_counter()
    pl.scan_csv(log).sink_parquet(out / "bare.parquet")
    return {"seconds": time.perf_counter() - start}


def imported(log: Path, out: Path) -> dict[str, float]:
    start = time.perf_counter()
    dataset = import_dataset(KuaiRandReader(), log.parent, out / "dataset")
    seconds = time.perf_counter() - start
    dropped = sum(report.dropped for report in dataset.manifest.cleaning)
    mended = sum(report.mended for report in dataset.manifest.cleaning)
    rows = dataset.manifest.rows
    return {"seconds": seconds, "dropped": dropped, "mended": mended, "events": rows["events"]}


SIDES = {"bare": bare, "import": imported}


def measured(side: str, log: Path, scratch: Path) -> dict[str, float]:
    """Run one side in a fresh process, so that its memory is its own."""
    out = Path(tempfile.mkdtemp(dir=scratch))
    command = [sys.executable, __file__, "--side", side, "--log", str(log), "--out", str(out)]
    try:
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
    finally:
        shutil.rmtree(out)
    result: dict[str, float] = json.loads(answer.stdout)
    return result


def one_side(side: str, log: Path, out: Path) -> None:
    result = SIDES[side](log, out)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**result, "gib": peak_kib / 2**20}))


def compare(log: Path, scratch: Path, repeats: int) -> dict[str, list[dict[str, float]]]:
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    measured("bare", log, scratch)
    for _ in range(repeats):
        for side, results in runs.items():
            results.append(measured(side, log, scratch))
            print(f"{side:8s} {results[-1]['seconds']:8.2f} s {results[-1]['gib']:6.2f} GiB", flush=True)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--rows", type=int, default=20_000_000, help="rows of the log")
    parser.add_argument("--repeats", type=int, default=3, help="how often both sides run")
    parser.add_argument("--scratch", type=Path, help="folder for the log and the outputs (about 4 GB)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        one_side(options.side, options.log, options.out)
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder = write_kuairand(Path(scratch) / "log", options.rows, seed=1)
        log = next(folder.glob("log_standard_*.csv"))
        print(f"{options.rows:,} rows, {log.stat().st_size / 1e9:.2f} GB of CSV, {options.repeats} runs a side")
        runs = compare(log, Path(scratch), options.repeats)
    ratios = [b["seconds"] / a["seconds"] for a, b in zip(runs["bare"], runs["import"], strict=True)]
    ratio, peak = statistics.median(ratios), max(run["gib"] for run in runs["import"])
    print(f"ratios {', '.join(f'{r:.2f}' for r in ratios)}; {runs['import'][0]}")
    figures = [("import_csv_time", ratio, TIME_GOAL), ("import_csv_gib", peak, GIB_GOAL)]
    if options.json:
        goals = [{"name": name, "value": value, "goal": f"<= {goal:g}"} for name, value, goal in figures]
        options.json.write_text(json.dumps({"rows": options.rows, "ratios": goals, "runs": runs}, indent=2) + "\n")
    for name, value, goal in figures:
        print(f"ratio {name} {value:.2f} goal <= {goal:g}")


if __name__ == "__main__":
    main()
