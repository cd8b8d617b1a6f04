"""Whether a sweep finds better encoders than plain random search does for the same number of epochs.

On MovieLens 100k: 24 trials that Optuna proposes and ASHA stops, over at least six pairs of mixer and scorer, two at
once; random search without a scheduler, whose trials all train to their end, as many of them as come to at least the
epochs that the sweep trained in all; and the shipped default encoder, for the epochs that are best on validation. Each
one's winner is then trained with several seeds on all that lies before the test window, and a paired test says whether
the sweep's is better. The folder holds both sweeps, the verdict and the report that shows it.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from foveate.core.config import from_dict
from foveate.core.overrides import apply_overrides
from foveate.data.dataset import open_dataset
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.base import Reader
from foveate_tune.config import SweepConfig
from foveate_tune.report.page import write_report
from foveate_tune.results.leaderboard import SweepResult
from foveate_tune.results.verdict import DEFAULT, compare_sweep
from foveate_tune.run_sweep import run_sweep
from lab.held_out import real_data

SEARCH: dict[str, Any] = {
    "mixers": ["gated", "filtered", "multi_head", "mean_pool"],
    "scorers": ["dot_product", "cosine"],
    "losses": ["sampled_softmax", "gbce"],
    "settings": {"encoder": {"width": [32, 64]}, "train": {"learning_rate": {"log_uniform": [1e-3, 1e-2]}}},
}
PAIRS = 6


def swept(config: SweepConfig, data: Path, out: Path, name: str) -> SweepResult:
    """Run one sweep and say what it took."""
    print(f"\n{name}: {config.trials} trials of {config.epochs} epochs at most", flush=True)
    result = run_sweep(config, data, out, progress=print)
    pairs = {(row.settings["encoder.mixer"], row.settings["encoder.scorer"]) for row in result.trials}
    summary = f"{trained(result)} epochs of {len(result.trials)} trials, {len(pairs)} pairs of mixer and scorer"
    print(f"{name}: {summary}, {result.seconds:.0f} s; {result.winner} {result.winning.metrics}", flush=True)
    return result


def trained(result: SweepResult) -> int:
    """Count the epochs that all trials of a sweep trained."""
    return sum(len(row.epochs) for row in result.trials)


def compare(config: SweepConfig, data: Path, out: Path, seeds: int) -> None:
    """Run both searches and the test, and leave all of it in ``out``."""
    began = time.monotonic()
    tuned = swept(config, data, out / "sweep", "ASHA and Optuna")
    # As many whole trials as come to no fewer epochs than the sweep has trained: the odds favour the rival.
    trials = math.ceil(trained(tuned) / config.epochs)
    plain = from_dict(SweepConfig, {"scheduler": "none"}).scheduler
    searcher = from_dict(SweepConfig, {"search": {"searcher": "random"}}).search.searcher
    search = replace(config.search, searcher=searcher)
    # A seed of its own: otherwise it would draw what Optuna draws before it begins to learn.
    rival = replace(config, scheduler=plain, search=search, trials=trials, seed=config.seed + 1)
    random = swept(rival, data, out / "random", "random")
    pairs = {(row.settings["encoder.mixer"], row.settings["encoder.scorer"]) for row in tuned.trials}
    if len(pairs) < PAIRS:
        print(f"NOTE: the sweep tried {len(pairs)} pairs of mixer and scorer, {PAIRS} were asked for")
    report = compare_sweep(out / "sweep", data, [DEFAULT, str(out / "random")], seeds=seeds, say=print)
    for standing in report.standings:
        contender, mean = standing.contender, standing.mean
        found = f"found with {contender.searched_epochs} epochs, trained for {contender.source.train.epochs}"
        print(f"{contender.name}: NDCG@10 {mean.mean:.4f} ({mean.low:.4f} to {mean.high:.4f}), {found}")
    for standing, result in zip(report.standings[1:], report.comparisons, strict=True):
        gain = result.difference.absolute
        figures = f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}), p {result.p:.3f}"
        print(f"the sweep's winner against {standing.contender.name}: {result.verdict}, {figures}")
    print(f"epochs: sweep {trained(tuned)}, random {trained(random)}; all of it took {time.monotonic() - began:.0f} s")
    print(f"report: {write_report(str(out / 'sweep'))}")


def dataset(data: Path | None, out: Path) -> Path | None:
    """Return the dataset folder, made from the raw log if need be; None where there is no log."""
    if data is not None:
        return open_dataset(data).path
    raw = real_data() / "ml-100k"
    if not raw.is_dir():
        return None
    return import_dataset(Reader.variants["recbole"](), raw, out / "data").path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="dataset folder [ml-100k under FOVEATE_DATA, imported]")
    parser.add_argument("--out", type=Path, default=Path("runs") / "sweep-vs-random", help="folder to make")
    parser.add_argument("--trials", type=int, default=24, help="of the sweep")
    parser.add_argument("--epochs", type=int, default=20, help="most epochs of a trial")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each winner")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of both sweeps")
    options = parser.parse_args()
    print(shlex.join(["python", "infra/bench/sweep_vs_random.py", *sys.argv[1:]]))
    asked = {
        "trials": options.trials,
        "epochs": options.epochs,
        "concurrent": 2,
        "tracking": {"mode": "none"},
        "search": {**SEARCH, "searcher": "optuna"},
        "scheduler": {"name": "asha", "grace_epochs": 3, "reduction": 2.0},
        "recipe": {
            "protocol": "leave-one-out",
            "sources": [{"name": "attention", "train": {"patience": 0}}, "popularity"],
        },
    }
    data = dataset(options.data, options.out)
    if data is None:
        where = real_data() / "ml-100k"
        print(f"skipped: there is no {where}; set FOVEATE_DATA to the folder that holds it, or give --data")
        return
    compare(
        from_dict(SweepConfig, apply_overrides(asked, options.overrides, SweepConfig)), data, options.out, options.seeds
    )


if __name__ == "__main__":
    main()
