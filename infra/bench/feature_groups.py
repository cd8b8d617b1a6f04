"""What each group of features brings to the ranker: NDCG@10 without it, on identical candidates.

For each seed the sources are fitted by the recipe and every viewer's candidates are gathered once. The recipe's ranker
learns from all columns, and again without those of one group after the other; all are asked about the same candidates.
The differences are paired over viewers, with the mean over the seeds, and their intervals are widened by what differs
between the seeds. What was gathered is kept in a folder, so that a second run takes only the rankers.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from foveate.core.metrics import Floats
from foveate.evaluation.paired import Paired, paired
from lab.frozen import Frozen, frozen
from lab.ranked import open_set, recipe_of

ALL = "all features"
BAND = {
    "sources": "the sources' scores, ranks and z-scores",
    "source_features": "what sources say of candidates beside their scores",
}


@dataclass(frozen=True)
class Line:
    """One row of the table; changes are against all features, with the bounds of their 95 % intervals."""

    without: str
    columns: int
    ndcg: float
    change: float
    low: float
    high: float
    percent: float
    percent_low: float
    percent_high: float
    verdict: str


def parts(found: Frozen, each: bool) -> dict[str, frozenset[str]]:
    """Return what is left out in turn: each group, all but the sources, and with ``each`` every column by itself."""
    groups = {f"{name}: {BAND[name]}" if name in BAND else name: frozenset(own) for name, own in found.groups.items()}
    beyond = frozenset(found.features.names) - frozenset(found.groups["sources"])
    single = {name: frozenset([name]) for name in found.features.names} if each else {}
    return {**groups, "all but the sources": beyond, **single}


def scores_of(
    seeds: Sequence[Frozen], names: Sequence[str], each: bool, fit: Callable[[Frozen, int], Floats]
) -> dict[str, Floats]:
    """Return ``[S, B]`` NDCG@10 of all features and without each part."""
    found: dict[str, list[Floats]] = {ALL: [], **{name: [] for name in names}}
    for seed, own in enumerate(seeds):
        found[ALL].append(fit(own, seed))
        for name, columns in parts(own, each).items():
            found[name].append(fit(own.without(columns), seed))
    return {name: np.stack(values) for name, values in found.items()}


def line(name: str, columns: int, own_SB: Floats, all_SB: Floats) -> Line:
    compared: Paired = paired(own_SB, all_SB, seed=0)
    absolute, percent = compared.difference.absolute, compared.difference.percent
    return Line(
        without=name,
        columns=columns,
        ndcg=float(own_SB.mean()),
        change=absolute.mean,
        low=absolute.low,
        high=absolute.high,
        percent=percent.mean,
        percent_low=percent.low,
        percent_high=percent.high,
        verdict=compared.verdict,
    )


def table(lines: Sequence[Line], ndcg: float, heading: str) -> str:
    """Return the markdown, what is missed most first."""
    head = [
        "| without | columns | NDCG@10 | against all features | in per cent | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        f"| {ALL} | | {ndcg:.4f} | | | |",
    ]
    rows = [
        f"| {one.without} | {one.columns} | {one.ndcg:.4f} | {one.change:+.4f} ({one.low:+.4f} to {one.high:+.4f}) | "
        f"{one.percent:+.1f} ({one.percent_low:+.1f} to {one.percent_high:+.1f}) | {one.verdict} |"
        for one in sorted(lines, key=lambda one: one.change)
    ]
    return "\n".join([heading, "", *head, *rows]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="dataset folder; without it the raw set of the recipe's name is read")
    parser.add_argument("--recipe", default="ml-100k", help="which of infra/recipes")
    parser.add_argument("--override", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the recipe")
    parser.add_argument("--window", choices=["selection", "test"], default="test", help="whose viewers are asked")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--each", action="store_true", help="leave out every single column as well")
    parser.add_argument("--cache", type=Path, default=Path("runs") / "frozen", help="where candidates are kept")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    start = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - start:5.0f} s  {text}", flush=True)

    dataset, recipe = open_set(options.recipe, options.data), recipe_of(options.recipe, options.override)
    seeds = [
        frozen(dataset, replace(recipe, seed=seed), options.window, options.cache, say) for seed in range(options.seeds)
    ]

    def fit(own: Frozen, seed: int) -> Floats:
        say(f"seed {seed}: a ranker of {len(own.features.names)} columns")
        return own.ndcg(recipe.ranker.fit(own.training, seed))

    left_out = parts(seeds[0], options.each)
    scores = scores_of(seeds, list(left_out), options.each, fit)
    lines = [line(name, len(columns), scores[name], scores[ALL]) for name, columns in left_out.items()]
    heading = (
        f"{dataset.title}, {options.window} window, {seeds[0].viewers:,} viewers, {len(seeds)} seeds, recipe "
        f"`{options.recipe}`{''.join(f' {one}' for one in options.override)}."
    )
    print("\n" + table(lines, float(scores[ALL].mean()), heading))
    if options.json:
        result = {"told": heading, "ndcg": float(scores[ALL].mean()), "without": [asdict(one) for one in lines]}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
