"""Record settings of the encoder with their learning curves, once a data set, for searches to be replayed on.

A sweep of random draws without a scheduler trains every setting to its end; what each came to after each epoch goes to
one JSON file. The sweep's folder is kept: the same command goes on where it was broken off. ``search_replay.py`` reads
the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from foveate import __version__
from foveate.core.config import from_dict, to_dict
from foveate.core.overrides import apply_overrides
from foveate.retrieval.attention import Attention
from foveate.storage.folder import Folder
from foveate_tune.config import SweepConfig
from foveate_tune.levels.chosen_encoder import attention_of
from foveate_tune.report.record import SweepRecord, read_sweep
from foveate_tune.resume import finished, resumable
from foveate_tune.run_sweep import resume_sweep, run_sweep
from foveate_tune.schedulers.none import Unstopped
from foveate_tune.search import build_space, draw_of
from foveate_tune.searchers.base import NUMBER
from foveate_tune.searchers.random import RandomSearcher
from lab.searches import METRIC
from sweep_vs_random import SEARCH


def recorded(config: SweepConfig, data: Path, sweep: Path) -> SweepRecord:
    """Run the sweep, or what is left of it, and read what all trials reported."""
    folder = Folder.at(sweep)
    if resumable(str(sweep)):
        resume_sweep(str(sweep), dataset_path=data, progress=print)
    elif finished(folder) is None:
        run_sweep(config, data, sweep, progress=print)
    return read_sweep(folder)


def record_of(sweep: SweepRecord) -> dict[str, Any]:
    """Return what is kept of a sweep: its settings with their curves, in the order in which they were drawn."""
    config = sweep.config
    trials = sorted(sweep.trials, key=lambda trial: int(trial.config[NUMBER]))
    space = build_space(config.search)
    start = draw_of(to_dict(attention_of(config.recipe) or Attention()), space)
    data: Mapping[str, Any] = sweep.facts["data"]
    return {
        "data": data["title"],
        "content_hash": data["hash"],
        "protocol": config.recipe.protocol,
        "search": to_dict(config.search),
        "recipe": to_dict(config.recipe),
        "epochs": config.epochs,
        "seed": config.seed,
        "version": __version__,
        "first": bool(trials) and start is not None and dict(trials[0].draw) == start,
        "settings": [
            {
                "draw": dict(trial.draw),
                "curve": [round(float(epoch[METRIC]), 6) for epoch in trial.epochs],
                "seconds": round(float(trial.epochs[-1]["seconds"]), 1) if trial.epochs else 0.0,
                "state": trial.state,
            }
            for trial in trials
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="dataset folder")
    parser.add_argument("--out", type=Path, required=True, help="the record, a JSON file")
    parser.add_argument("--sweep", type=Path, required=True, help="folder of the sweep, made or gone on with")
    parser.add_argument("--settings", type=int, default=100, help="how many are recorded")
    parser.add_argument("--epochs", type=int, default=20, help="of each")
    parser.add_argument("--protocol", choices=["leave-one-out", "time"], default="leave-one-out")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of the sweep")
    options = parser.parse_args()
    asked = {
        "trials": options.settings,
        "epochs": options.epochs,
        "max_seconds": 1e9,
        "checkpoints": 0,
        "tracking": {"mode": "none", "tensorboard": False},
        "search": SEARCH,
        "recipe": {
            "protocol": options.protocol,
            "sources": [{"name": "attention", "train": {"patience": 0}}, "popularity"],
        },
    }
    config = from_dict(SweepConfig, apply_overrides(asked, options.overrides, SweepConfig))
    plain = replace(config, search=replace(config.search, searcher=RandomSearcher()), scheduler=Unstopped())
    record = record_of(recorded(plain, options.data, options.sweep))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, allow_nan=False) + "\n")
    whole = sum(len(one["curve"]) == options.epochs for one in record["settings"])
    print(f"{len(record['settings'])} settings, {whole} of them to epoch {options.epochs}: {options.out}")


if __name__ == "__main__":
    main()
