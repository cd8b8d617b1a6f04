"""The second stage of one request on one core: ranking 200 candidates with all features, and choosing the slate.

Slates are chosen from made-up candidates by every policy, without rules, under the default caps with two rules more,
and under rules that hardly any slate can keep. Ranking asks a model that was trained on a made-up world, or a bundle,
for 200 candidates of one viewer after the other. Every figure is the median over many requests, after a warm-up, of the
time that the thread itself was at work, so that other processes count as little as can be.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from foveate.bundle import Bundle
from foveate.core.config import from_dict
from foveate.core.messages import Candidates, Query
from foveate.data.dataset import open_dataset
from foveate.data.vocabulary import Vocabulary
from foveate.data.world.config import SimulateConfig
from foveate.data.world.simulate import simulate_dataset
from foveate.evaluation.loaded import newest_stage
from foveate.evaluation.panel import panel_of
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.slate.base import SlatePolicy
from foveate.slate.constraints import UNCONSTRAINED, Constraints
from foveate.slate.inputs import SlateInput
from foveate.slate.rules.at_most import AtMost
from foveate.slate.rules.fresh import Fresh
from foveate.slate.rules.small_channel import SmallChannel
from foveate.training import fit

CANDIDATES, WIDTH = 200, 64
GOALS = {
    "select_20_of_200_ms": 0.5,
    "select_20_of_200_with_rules_ms": 1.0,
    "select_50_of_500_ms": 4.0,
    "rank_200_ms": 2.0,
}
"""Of the default policy."""

WITH_RULES = Constraints(2, 4, (AtMost(of="tag", most=2, window=5), Fresh(least=2, soft=True)))


@dataclass(frozen=True)
class Case:
    """A kind of slate that is timed."""

    name: str
    candidates: int
    slots: int
    rules: Constraints


def hardly(slots: int) -> Constraints:
    """Rules that a slate of ``slots`` can just keep, or just not."""
    floors = (Fresh(least=slots // 2, soft=True), SmallChannel(quantile=0.3, least=slots // 3, soft=True))
    return Constraints(2, slots // 5, (AtMost(of="tag", most=slots // 4, soft=True), *floors))


CASES = (
    Case("select_20_of_200", 200, 20, UNCONSTRAINED),
    Case("select_20_of_200_with_rules", 200, 20, WITH_RULES),
    Case("select_20_of_200_hardly", 200, 20, hardly(20)),
    Case("select_50_of_500", 500, 50, UNCONSTRAINED),
    Case("select_50_of_500_with_rules", 500, 50, WITH_RULES),
    Case("select_50_of_500_hardly", 500, 50, hardly(50)),
)


def pool(rng: np.random.Generator, case: Case) -> SlateInput:
    """Return made-up candidates; where rules hardly can be kept, of half as many channels as there are places."""
    n = case.candidates
    channels, categories, tags = (case.slots // 2, 5, 8) if case.name.endswith("hardly") else (60, 15, 20)
    category = rng.integers(0, categories, n)
    vectors = rng.normal(size=(n, WIDTH))
    return SlateInput(
        relevance=rng.normal(size=n).astype(np.float32),
        vectors=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        channel=rng.integers(0, channels, n).astype(np.int32),
        category=category.astype(np.int32),
        codes=np.sort(rng.choice(100 * n, n, replace=False)).astype(np.int32),
        categories=(category[:, None] == np.arange(categories)).astype(np.float32),
        category_names=tuple(f"category {code}" for code in range(categories)),
        taste=rng.dirichlet(np.ones(categories)).astype(np.float32),
        tags=rng.random((n, tags)) < 0.1,
        age_days=rng.uniform(0.0, 20.0, n).astype(np.float32),
        channel_standing=rng.random(n).astype(np.float32),
        safety=np.full(n, np.nan, dtype=np.float32),
        channels=Vocabulary(f"channel {code}" for code in range(channels)),
    )


def timed(calls: Sequence[Callable[[], object]], warm_up: int = 5) -> list[float]:
    """Return the milliseconds that the thread was at work in each call."""
    for call in calls[:warm_up]:
        call()
    out = []
    for call in calls:
        start = time.thread_time()
        call()
        out.append(1000.0 * (time.thread_time() - start))
    return out


def select_times(requests: int) -> dict[str, dict[str, list[float]]]:
    """Return milliseconds by case and policy."""
    found: dict[str, dict[str, list[float]]] = {}
    for case in CASES:
        rng = np.random.default_rng(0)
        pools = [pool(rng, case) for _ in range(requests)]
        found[case.name] = {}
        for name, cls in SlatePolicy.variants.items():
            policy = cls()
            calls = [partial(policy.select, one, case.slots, case.rules, 0) for one in pools]
            found[case.name][name] = timed(calls)
    return found


def small_model(folder: Path) -> tuple[Model, Sequence[Query]]:
    """Train on a made-up world, with sources that are quick to fit; the ranker and the features are the defaults."""
    dataset = simulate_dataset(SimulateConfig(viewers=1500, items=1500, days=14, seed=0), folder / "world")
    sources = ["covisitation", "item_knn", "popularity", "recent_popularity"]
    fitted = fit(dataset, from_dict(Recipe, {"sources": sources, "label_windows": 1}), upto="test")
    return fitted.model, panel_of(fitted.stage, fitted.model.catalog, most=200).queries


def given_model(bundle: Path, data: Path) -> tuple[Model, Sequence[Query]]:
    """Load a bundle, and the viewers of its data's newest window."""
    loaded, dataset = Bundle.load(bundle), open_dataset(data)
    stage = newest_stage(loaded, dataset, loaded.model.recipe.protocol)
    return loaded.model, panel_of(stage, loaded.model.catalog, most=200).queries


def rank_times(model: Model, queries: Sequence[Query], requests: int) -> list[float]:
    """Return milliseconds of ranking 200 candidates with made-up scores of the model's sources."""
    rng, names = np.random.default_rng(0), tuple(source.name for source in model.sources)
    source_features = model.recipe.source_feature_names
    calls = []
    for row in range(requests):
        query = queries[row % len(queries)]
        items = np.sort(rng.choice(len(model.catalog), CANDIDATES, replace=False)).astype(np.int32)
        candidates = Candidates(
            items=items,
            sources=names,
            scores=rng.normal(size=(CANDIDATES, len(names))).astype(np.float32),
            offered=rng.random((CANDIDATES, len(names))) < 0.4,
            source_feature_names=source_features,
            source_features=np.zeros((CANDIDATES, len(source_features)), dtype=np.float32),
        )
        calls.append(partial(model.rank, [query], [candidates]))
    return timed(calls)


def show(selected: dict[str, dict[str, list[float]]], ranked: list[float]) -> None:
    names = list(SlatePolicy.variants)
    print("median ms".ljust(30) + "".join(f"{name:>18s}" for name in names))
    for case, times in selected.items():
        print(case.ljust(30) + "".join(f"{statistics.median(times[name]):18.3f}" for name in names))
    deciles = statistics.quantiles(ranked, n=10)
    print(
        f"rank_200: median {statistics.median(ranked):.3f} ms, a tenth below {deciles[0]:.3f}, above {deciles[-1]:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--requests", type=int, default=200, help="how many of each are timed")
    parser.add_argument("--bundle", type=Path, help="rank by this bundle instead of a model of a made-up world")
    parser.add_argument("--data", type=Path, help="the dataset whose viewers ask the bundle")
    options = parser.parse_args()
    if bool(options.bundle) != bool(options.data):
        parser.error("--bundle and --data go together")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch, threadpool_limits(1):
        asked = given_model(options.bundle, options.data) if options.bundle else small_model(Path(scratch))
        selected, ranked = select_times(options.requests), rank_times(*asked, options.requests)
    show(selected, ranked)
    policy = type(Recipe().policy).name
    medians = {f"{name}_ms": statistics.median(times[policy]) for name, times in selected.items()}
    medians["rank_200_ms"] = statistics.median(ranked)
    figures = [(name, medians[name], goal) for name, goal in GOALS.items()]
    if options.json:
        ratios = [{"name": name, "value": value, "goal": f"<= {goal:g}"} for name, value, goal in figures]
        options.json.write_text(json.dumps({"ratios": ratios, "select": selected, "rank": ranked}, indent=2) + "\n")
    for name, value, goal in figures:
        print(f"ratio {name} {value:.3f} goal <= {goal:g}")


if __name__ == "__main__":
    main()
