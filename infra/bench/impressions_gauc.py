"""How well the ranker orders what was really shown: GAUC on the logged impressions of KuaiRand-Pure.

The log is cut by time as the recipe says. Sources and features of each label window are fitted on what lies before that
window, and its impressions, with what came of them, train the rankers. They are then asked about the impressions of a
later window, by what was known at its start. GAUC is the mean over viewers of the area under the curve within each
viewer's own impressions, weighted by how many those are; viewers who did all or nothing are left out.
Source: Zhu et al., Optimized cost per click in Taobao display advertising (KDD 2017), section 4.

Intervals are paired bootstraps over viewers. The ranker is the recipe's, learning from all columns; beside it stand
popularity, a logistic regression on the same columns, and the same ranker on the sources' scores alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.core.config import to_dict
from foveate.core.messages import FeatureMatrix
from foveate.core.metrics import RESAMPLES, Floats
from foveate.data.dataset import Dataset
from foveate.ranking.base import TrainingSet, column
from foveate.ranking.blend import logistic
from foveate.recommend.recipe import Recipe
from foveate.training import fit_windows
from foveate.training.examples import LabelWindow
from lab.kept import is_kept
from lab.logged import Logged, Shown, aucs, features_of, shown_in, training_of
from lab.ranked import open_set, recipe_of

OURS, SCORES, LINEAR = "ranker, all features", "ranker, source scores alone", "logistic, all features"


@dataclass(frozen=True)
class Line:
    """One row of the table: GAUC, and how far the ranker lies above it, with the bounds of the 95 % interval."""

    model: str
    gauc: float
    above: float
    low: float
    high: float


def logistic_scores(training: TrainingSet, asked: FeatureMatrix, l2: float) -> NDArray[np.float64]:
    """Learn a logistic regression on all columns, brought to mean 0 and deviation 1, and score rows by it."""
    rows = training.features.values.astype(np.float64)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(deviation > 1e-9, deviation, 1.0)
    weights = logistic((rows - mean) / scale, (training.labels > 0).astype(np.float64), l2)
    scores: NDArray[np.float64] = ((asked.values - mean) / scale) @ weights
    return scores


def narrowed(matrix: FeatureMatrix, names: tuple[str, ...]) -> FeatureMatrix:
    kept = [matrix.names.index(name) for name in names]
    return FeatureMatrix(names, "sources", np.ascontiguousarray(matrix.values[:, kept]))


def gauc(auc_B: Floats, weight_B: Floats) -> float:
    return float(auc_B @ weight_B / weight_B.sum())


def lines_of(by_model: Mapping[str, NDArray[np.floating]], shown: Shown, seed: int) -> list[Line]:
    """Measure every model against the ranker on the same viewers, resampled in pairs."""
    found = {name: aucs(scores, shown) for name, scores in by_model.items()}
    scored_B = np.isfinite(found[OURS])
    weight_B = np.diff(shown.lists())[scored_B].astype(np.float64)
    ours_B = found[OURS][scored_B]
    rng = np.random.default_rng(seed)
    drawn_RB = rng.integers(0, len(ours_B), size=(RESAMPLES, len(ours_B)))
    out = []
    for name, all_B in found.items():
        gap_B = (ours_B - all_B[scored_B]) * weight_B
        gaps = gap_B[drawn_RB].sum(axis=1) / weight_B[drawn_RB].sum(axis=1)
        low, high = np.percentile(gaps, [2.5, 97.5])
        above = float(gap_B.sum() / weight_B.sum())
        out.append(Line(name, gauc(all_B[scored_B], weight_B), above, float(low), float(high)))
    return out


def table(lines: list[Line], heading: str) -> str:
    rows = [
        f"| {one.model} | {one.gauc:.4f} | "
        + (" |" if one.model == OURS else f"{one.above:+.4f} ({one.low:+.4f} to {one.high:+.4f}) |")
        for one in sorted(lines, key=lambda one: -one.gauc)
    ]
    return (
        "\n".join([heading, "", "| model | GAUC | the ranker lies above it by |", "| --- | ---: | ---: |", *rows])
        + "\n"
    )


def drawn(shown: Shown, most: int, seed: int) -> Shown:
    """Keep the impressions of ``most`` viewers at most."""
    users = np.unique(shown.user)
    if not most or len(users) <= most:
        return shown
    return shown.of(np.random.default_rng(seed).choice(users, most, replace=False))


def gathered(dataset: Dataset, recipe: Recipe, options: argparse.Namespace, say: Callable[[str], None]) -> Logged:
    """Fit, and build the features of all impressions; or read what an earlier call has kept."""
    bare = to_dict(replace(recipe, ranker=Recipe().ranker))
    settings = [bare, dataset.manifest.content_hash, options.window, options.kind, options.viewers]
    folder = options.cache / hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    if not is_kept(folder):
        _gathered(dataset, recipe, options, say).keep(folder)
    return Logged.read(folder)


def _gathered(dataset: Dataset, recipe: Recipe, options: argparse.Namespace, say: Callable[[str], None]) -> Logged:
    catalog = dataset.catalog()
    labels, last = fit_windows(dataset, recipe, catalog, upto=options.window, progress=say)

    def read(window: LabelWindow) -> tuple[Shown, FeatureMatrix]:
        whole = shown_in(dataset, catalog, options.kind, window.stage.now, window.stage.until)
        shown = drawn(whole, options.viewers, recipe.seed)
        say(f"{window.stage.name}: features of {len(shown.item):,} impressions")
        return shown, features_of(window, shown, catalog, recipe.counts)

    return Logged(training_of([read(window) for window in labels]), *read(last), last.features.groups)


def measured(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[list[Line], str]:
    recipe = recipe_of("kuairand-pure", options.override)
    dataset = open_set("kuairand-pure", options.data)
    found = gathered(dataset, recipe, options, say)
    training, shown, asked = found.training, found.shown, found.asked
    sources = found.groups["sources"]
    alone = TrainingSet(narrowed(training.features, sources), training.labels, training.groups, training.windows)
    config = recipe.ranker
    say(f"{len(training.labels):,} impressions of {len(training.groups):,} lists to learn from")
    by_model: dict[str, NDArray[np.floating]] = {
        OURS: config.fit(training, recipe.seed).score(asked),
        SCORES: config.fit(alone, recipe.seed).score(narrowed(asked, sources)),
        LINEAR: logistic_scores(training, asked, options.l2),
        **{name: column(asked, f"score.{name}") for name in ("popularity", "recent_popularity")},
    }
    lines = lines_of(by_model, shown, recipe.seed)
    both = int(np.isfinite(aucs(by_model[OURS], shown)).sum())
    heading = (
        f"{dataset.title}: {options.kind} among {len(shown.item):,} logged impressions of the {options.window} window; "
        f"{both:,} viewers did both. Ranker `{type(config).name}`, learning from {len(training.labels):,} impressions"
        f"{''.join(f', {one}' for one in options.override)}."
    )
    return lines, heading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="dataset folder; without it the raw set is read")
    parser.add_argument("--override", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the recipe")
    parser.add_argument("--kind", default="long_view", help="which kind of event is foretold")
    parser.add_argument("--cache", type=Path, default=Path("runs") / "logged", help="where features are kept")
    parser.add_argument("--window", choices=["selection", "test"], default="test", help="whose impressions are ranked")
    parser.add_argument("--viewers", type=int, default=0, help="viewers drawn from each window; 0 takes all")
    parser.add_argument("--l2", type=float, default=10.0, help="weight of the logistic model's squared coefficients")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    start = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - start:5.0f} s  {text}", flush=True)

    lines, heading = measured(options, say)
    print("\n" + table(lines, heading))
    ratios = [
        {"name": f"gauc_above_{one.model.replace(', ', '_').replace(' ', '_')}", "value": one.low, "goal": ">= 0"}
        for one in lines
        if one.model != OURS
    ]
    if options.json:
        result = {"told": heading, "ratios": ratios, "rows": [asdict(one) for one in lines]}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    for one in ratios:
        print(f"ratio {one['name']} {one['value']:.4f} goal >= 0")


if __name__ == "__main__":
    main()
