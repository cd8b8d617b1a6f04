"""What a sweep costs beside its training.

``noop``: a sweep of trials that do nothing but report, with a checkpoint each time, tracked by W&B offline: the seconds
of the whole sweep, the start and the end of its cluster included, over its trials. The encoder is not trained; all else
is what every sweep goes through.

``share``: a sweep of the default config on a real dataset, its trials cut at a minute each: how much of the time in
which its slots were there, from the start of the first trial to the end of the last, they were training.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, ClassVar

from foveate.core.config import from_dict
from foveate.core.overrides import apply_overrides
from foveate.core.space import Uniform
from foveate.data.dataset import Dataset
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.recbole import RecBoleReader
from foveate.data.world.config import SimulateConfig
from foveate.data.world.simulate import simulate_dataset
from foveate.recommend.recipe import Recipe
from foveate_tune.config import SweepConfig, TrackingConfig
from foveate_tune.levels.base import Baselines, Level, Problem, Report
from foveate_tune.objective import Objective
from foveate_tune.run_sweep import run_sweep
from foveate_tune.schedulers.none import Unstopped
from foveate_tune.settings import SweepSettings
from foveate_tune.space import Draw, SearchSpace
from lab.held_out import real_data

METRIC = "ndcg@10"
SECONDS_A_TRIAL = 1.0
SHARE_TRAINING = 0.85


@dataclass(frozen=True)
class Idle(Level):
    """Trains nothing."""

    name: ClassVar[str] = "idle"
    objectives: ClassVar[tuple[Objective, ...]] = (Objective(METRIC),)

    def steps(self, config: SweepSettings) -> int:
        return config.epochs

    def space(self, config: SweepSettings) -> SearchSpace:
        return SearchSpace({"worth": Uniform(0.0, 1.0)}, {})

    def prepare(self, dataset: Dataset, config: SweepSettings, say: Callable[[str], None]) -> Idling:
        return Idling(self, config.recipe)


@dataclass(frozen=True)
class Idling(Problem):
    level: Idle
    base: Recipe

    @property
    def viewers(self) -> int:
        return 1

    def first(self, space: SearchSpace) -> Draw | None:
        return None

    def check(self, draw: Draw) -> None:
        return None

    def run(
        self, draw: Draw, report: Report, *, steps: int, cpus: int, seconds: float = inf, resume: Path | None = None
    ) -> None:
        for step in range(1, steps + 1):
            report(
                step, {METRIC: draw["worth"] * step}, lambda folder: (folder / "nothing.bin").write_bytes(b"0" * 4096)
            )

    def recipe(self, draw: Draw, best: int) -> Recipe:
        return self.base

    def baselines(self) -> Baselines:
        return {"popularity": {METRIC: 0.0}}


def noop(trials: int, reports: int, scratch: Path) -> dict[str, Any]:
    """Return the seconds that a trial costs which does nothing."""
    data = scratch / "world"
    simulate_dataset(SimulateConfig(viewers=50, items=50, days=14), data)
    config = SweepConfig(
        level=Idle(),
        trials=trials,
        epochs=reports,
        scheduler=Unstopped(),
        tracking=TrackingConfig(mode="offline"),
    )
    start = time.perf_counter()
    result = run_sweep(config, data, scratch / "noop")
    seconds = time.perf_counter() - start
    assert [(row.state, len(row.epochs)) for row in result.trials] == [("finished", reports)] * trials
    training = sum(row.seconds for row in result.trials)
    return {
        "trials": trials,
        "reports": reports,
        "seconds": seconds,
        "in_trials": training,
        "a_trial": seconds / trials,
    }


def share(data: Path, config: SweepConfig, scratch: Path) -> dict[str, Any]:
    """Return the share of the slots' time that went into training."""
    out = scratch / "share"
    start = time.perf_counter()
    result = run_sweep(config, data, out, progress=lambda line: print(line, flush=True))
    whole = time.perf_counter() - start
    trials = [out / "trials" / row.name for row in result.trials]
    begin = min((trial / "facts.json").stat().st_mtime for trial in trials)
    end = max((trial / "result.json").stat().st_mtime for trial in trials)
    training = sum(row.seconds for row in result.trials)
    slots = min(config.concurrent, len(trials))
    return {
        "trials": len(trials),
        "slots": slots,
        "seconds": whole,
        "slots_were_there": end - begin,
        "trained": training,
        "share": training / (slots * (end - begin)),
        "share_with_start_and_end": training / (slots * whole),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--only", choices=["noop", "share"], help="measure one of the two")
    parser.add_argument(
        "--trials", type=int, default=16, help="of each sweep; at the end of a short one a slot has nothing left to do"
    )
    parser.add_argument("--reports", type=int, default=5, help="reports of each")
    parser.add_argument("--dataset", type=Path, help="dataset folder; left out, ml-100k is imported")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="changes of the config of the second sweep")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if options.only != "share":
            found["noop"] = noop(options.trials, options.reports, scratch)
        if options.only != "noop":
            data = options.dataset or scratch / "ml-100k"
            if options.dataset is None:
                import_dataset(RecBoleReader(), real_data() / "ml-100k", data)
            asked = {"trials": options.trials, "max_seconds": 60, "tracking": {"mode": "offline"}}
            config = from_dict(SweepConfig, apply_overrides(asked, options.overrides, SweepConfig))
            found["share"] = share(data, config, scratch)
    ratios = []
    if "noop" in found:
        ratios.append(("sweep_seconds_a_trial", found["noop"]["a_trial"], "<=", SECONDS_A_TRIAL))
    if "share" in found:
        ratios.append(("sweep_share_training", found["share"]["share"], ">=", SHARE_TRAINING))
    if options.json:
        named = [{"name": name, "value": value, "goal": f"{sign} {goal:g}"} for name, value, sign, goal in ratios]
        options.json.write_text(json.dumps({"ratios": named, **found}, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    for name, value, sign, goal in ratios:
        print(f"ratio {name} {value:.3f} goal {sign} {goal:g}")


if __name__ == "__main__":
    main()
