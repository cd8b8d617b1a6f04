"""Replay searchers and schedulers on recorded settings, and say which find more than random search at equal budget.

Every strategy has as many epochs as the given number of whole trials. The difference from random search (every setting
trained to its end, in random order) is paired by the seed of the replay; its interval is a bootstrap over replays, and
says nothing of settings that were not recorded. What is found is the best value on validation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foveate.core.config import from_dict
from foveate.core.metrics import Difference, paired_difference
from foveate_tune.schedulers.base import SchedulerConfig
from foveate_tune.searchers.base import SearcherConfig
from lab.searches import Found, Record, Strategy, replays

SEARCHERS: tuple[dict[str, Any], ...] = ({"name": "random"}, {"name": "optuna"})
SCHEDULERS: tuple[dict[str, Any], ...] = ({"name": "none"}, {"name": "asha"})


@dataclass(frozen=True)
class Line:
    """A strategy beside random search: the mean of what it found, and how far that lies above."""

    name: str
    found: float
    trials: float
    difference: Difference


def strategies(searchers: Sequence[Any], schedulers: Sequence[Any]) -> Iterator[Strategy]:
    """Yield every searcher with every scheduler, cold and warm; plain random search is the first."""
    for searcher in searchers:
        for scheduler in schedulers:
            for warm in (False, True):
                yield Strategy(from_dict(SearcherConfig, searcher), from_dict(SchedulerConfig, scheduler), warm)


def compared(record: Record, *, trials: int, count: int, seed: int, asked: Sequence[Strategy]) -> list[Line]:
    """Replay every strategy, the first being plain random search."""
    found: dict[str, list[Found]] = {}
    for strategy in asked:
        found[strategy.name] = replays(record, strategy, trials=trials, count=count, seed=seed)
        print(f"  {strategy.name}", flush=True)
    plain = np.array([one.value for one in found[asked[0].name]])
    lines = []
    for name, own in found.items():
        values = np.array([one.value for one in own])
        trained = float(np.mean([one.trials for one in own]))
        lines.append(Line(name, float(values.mean()), trained, paired_difference(values, plain, seed)))
    return lines


def table(record: Record, lines: Sequence[Line], *, trials: int, count: int) -> str:
    """Return the lines in words."""
    out = [
        f"{record.data}, {record.protocol}: {len(record.settings)} settings of {record.epochs} epochs, best"
        f" {record.best:.4f}; {count} replays of {trials * record.epochs} epochs",
        f"{'strategy':<24}{'found':>8}{'trials':>8}  above random search",
    ]
    for one in lines:
        gain = one.difference.absolute
        out.append(
            f"{one.name:<24}{one.found:>8.4f}{one.trials:>8.1f}  {gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
        )
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, nargs="*", help="files of search_record.py")
    parser.add_argument("--trials", type=int, default=24, help="whole trials whose epochs are the budget")
    parser.add_argument("--replays", type=int, default=200, help="of each strategy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    if not options.records:
        print("skipped: no record is given; make one with search_record.py")
        return
    asked, ratios, rows = list(strategies(SEARCHERS, SCHEDULERS)), [], []
    for path in options.records:
        record = from_dict(Record, _known(json.loads(path.read_text())))
        lines = compared(record, trials=options.trials, count=options.replays, seed=options.seed, asked=asked)
        print(table(record, lines, trials=options.trials, count=options.replays))
        rows += [{"record": path.stem, **asdict(one)} for one in lines]
        for line in lines[1:]:
            name = line.name.replace(", ", "_")
            low = line.difference.absolute.low
            ratios.append({"name": f"replay_{path.stem}_{name}", "value": low, "goal": ">= 0"})
    if options.json:
        options.json.write_text(json.dumps({"ratios": ratios, "rows": rows}, indent=2) + "\n")
    for one in ratios:
        print(f"ratio {one['name']} {one['value']:.5f} goal >= 0")


def _known(record: dict[str, Any]) -> dict[str, Any]:
    """Return what a replay reads of a record."""
    names = ("data", "content_hash", "protocol", "search", "epochs", "first")
    settings = [{"draw": one["draw"], "curve": one["curve"]} for one in record["settings"]]
    return {**{name: record[name] for name in names}, "settings": settings}


if __name__ == "__main__":
    main()
