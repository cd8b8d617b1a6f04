"""Whether explanations name what really carried an item: those items of the history are taken out, and others instead.

Asked are viewers with at least 10 items in what the encoder reads of their history, each about one of the ten items
that the attention source would show them. The score is that source's own; a history without some items is read as if
the viewer had never met them. Three are taken out at a time: those that the explanation names, the most recent ones,
random ones, and those that attention looked at most.

The encoder is the recipe's, trained on what lies before the selection window, with early stop on it; the test is never
read. Where a history is so short, or so much hangs on its newest events, that the named are the most recent ones,
taking them out cannot lower the score more: how often that is so is printed beside the ratios, which count it against
them. ``--search`` tries every three items of histories of at most 16: how often the best three lower the score more
than the most recent ones is what no explanation can pass.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foveate.bundle import Bundle
from foveate.core.config import from_dict, load_yaml
from foveate.core.messages import Query
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.fitting import FitContext
from foveate.data.split import Stage, windows
from foveate.evaluation.panel import panel_of
from foveate.recommend.explain.history import NAMED, faithfulness
from foveate.recommend.recipe import Recipe
from foveate.retrieval.attention import Attention
from foveate.retrieval.attribution import without
from foveate.retrieval.base import CandidateSource, top_k

LEAST = 10
"""Items that a history must hold."""

SHOWN = 10
"""From so many of a viewer's best items one is drawn."""

SEARCHED = 16
"""Every three items are tried of histories that hold at most so many."""

GOAL = 0.75


@dataclass(frozen=True)
class Falls:
    """By how much one item's score fell without three items of the history.

    ``best`` is the most by which any three lower it, NaN where they were not tried.
    ``same``: the named are the most recent.
    """

    named: float
    recent: float
    random: float
    attended: float
    best: float
    same: bool
    faithful: float


def stage_of(dataset: Dataset, recipe: Recipe) -> Stage:
    """Return the cut of the selection window."""
    positive = recipe.signals.positive or dataset.manifest.positive_kinds
    events = dataset.log().encode(dataset.users(), dataset.catalog().items, recipe.signals, positive)
    return windows(events, recipe.protocol, recipe.split).selection


def trained(dataset: Dataset, recipe: Recipe, stage: Stage, options: argparse.Namespace, seed: int) -> CandidateSource:
    """Train the recipe's encoder, for fewer epochs or rows where the options say so."""
    [config] = [one for one in recipe.sources if isinstance(one, Attention)]
    limits = {"epochs": options.epochs or config.train.epochs, "epoch_rows": options.epoch_rows}
    config = replace(config, train=replace(config.train, **limits))
    catalog = dataset.catalog()
    histories = stage.history.histories(catalog.duration)
    return config.fit(FitContext(histories, catalog, stage.now, seed, stage.targets.first(), print))


def measure(source: CandidateSource, queries: Sequence[Query], seed: int, *, search: bool = False) -> list[Falls]:
    """Take items out of each viewer's history and look at the score of one item."""
    rng = np.random.default_rng(seed)
    found = []
    for query in queries:
        item = rng.choice(top_k(source.scores([query])[0], query.exclude, SHOWN), 1)
        attribution = source.attribute(query, item)
        named = attribution.items[np.argsort(-attribution.drops[0], kind="stable")[:NAMED]]
        looks = source.attention_weights(query)
        attended = (
            attribution.items[:NAMED] if looks is None else attribution.items[np.argsort(-looks, kind="stable")[:NAMED]]
        )
        recent, random = attribution.items[:NAMED], rng.choice(attribution.items, NAMED, replace=False)
        taken = [named, recent, random, attended]
        scores = source.scores_of([query, *(without(query, gone) for gone in taken)], item)[:, 0]
        [[faithful]] = faithfulness(source, query, item, [[named]])
        assert faithful is not None
        same = set(named.tolist()) == set(recent.tolist())
        falls = dict(zip(("named", "recent", "random", "attended"), (scores[0] - scores[1:]).tolist(), strict=True))
        best = _best(source, query, item, attribution.items) if search else float("nan")
        found.append(Falls(**falls, best=best, same=same, faithful=faithful))
    return found


def _best(source: CandidateSource, query: Query, item: NDArray[np.int32], held: NDArray[np.int32]) -> float:
    """Return the largest fall of all threes."""
    if len(held) > SEARCHED:
        return float("nan")
    threes = [np.array(three, dtype=np.int32) for three in combinations(held.tolist(), NAMED)]
    scores = source.scores_of([query, *(without(query, gone) for gone in threes)], item)[:, 0]
    return float(scores[0] - scores[1:].min())


def timed(source: CandidateSource, queries: Sequence[Query]) -> float:
    """Return the median milliseconds that what carried a slate of ten takes, with its faithfulness."""
    spent = []
    for query in queries:
        items = top_k(source.scores([query])[0], query.exclude, SHOWN)
        start = time.perf_counter()
        attribution = source.attribute(query, items)
        order_NH = np.argsort(-attribution.drops, axis=1, kind="stable")[:, :NAMED]
        faithfulness(source, query, items, [[attribution.items[order_H]] for order_H in order_NH])
        spent.append(1000 * (time.perf_counter() - start))
    return statistics.median(spent)


def ratios(falls: Sequence[Falls]) -> dict[str, float]:
    """Return each share by its name."""

    def column(name: str) -> NDArray[np.float64]:
        return np.array([getattr(fall, name) for fall in falls], dtype=np.float64)

    named, recent, random, attended, best = map(column, ("named", "recent", "random", "attended", "best"))
    moved, searched_rows = ~column("same").astype(bool), np.isfinite(best)
    searched = {
        "best_over_recent_of_the_searched": float(np.mean((best > recent)[searched_rows])),
        "named_over_recent_of_the_searched": float(np.mean((moved & (named > recent))[searched_rows])),
        "searched": float(np.mean(searched_rows)),
    }
    return {
        **(searched if searched_rows.any() else {}),
        "named_over_recent": float(np.mean(moved & (named > recent))),
        "named_over_random": float(np.mean(named > random)),
        "named_over_recent_where_they_differ": float(np.mean((named > recent)[moved])),
        "named_are_the_recent": float(np.mean(~moved)),
        "attention_over_recent": float(np.mean(attended > recent)),
        "attention_over_random": float(np.mean(attended > random)),
        "mean_faithfulness": float(column("faithful").mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a dataset folder")
    parser.add_argument("--config", type=Path, help="a recipe; its protocol, cut and encoder count")
    parser.add_argument("--bundle", type=Path, help="ask this bundle's encoder; its recipe counts")
    parser.add_argument("--viewers", type=int, default=400, help="how many are asked about one item each")
    parser.add_argument("--seeds", type=int, default=1, help="how often to train and draw anew")
    parser.add_argument("--epochs", type=int, default=0, help="at most; by default the recipe's")
    parser.add_argument("--epoch-rows", type=int, default=0, help="training rows of an epoch, at most; 0 takes all")
    parser.add_argument("--search", action="store_true", help="try every three items of short histories as well")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dataset = open_dataset(options.data)
    bundle = Bundle.load(options.bundle) if options.bundle else None
    recipe = bundle.model.recipe if bundle else from_dict(Recipe, load_yaml(options.config) if options.config else {})
    stage = stage_of(dataset, recipe)
    queries = list(panel_of(stage, dataset.catalog()).queries)
    falls: list[Falls] = []
    for seed in range(options.seeds):
        own = {source.name: source for source in bundle.model.sources} if bundle else {}
        source = own.get(Attention.name) or trained(dataset, recipe, stage, options, seed)
        order = np.random.default_rng(seed).permutation(len(queries)).tolist()
        long = [queries[i] for i in order if len(source.read(queries[i])) >= LEAST][: options.viewers]
        falls += measure(source, long, seed, search=options.search)
    values = {**ratios(falls), "explain_ms": timed(source, long[:20])}
    goals = dict.fromkeys(("named_over_recent", "named_over_random"), f">= {GOAL}")
    if options.json:
        rows = [{"name": name, "value": value, "goal": goals.get(name)} for name, value in values.items()]
        options.json.write_text(json.dumps({"asked": len(falls), "ratios": rows}, indent=2) + "\n")
    print(f"{len(falls)} items asked about, {dataset.title}")
    for name, value in values.items():
        print(f"ratio {name} {value:.3f} goal {goals.get(name, '-')}")


if __name__ == "__main__":
    main()
