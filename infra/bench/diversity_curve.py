"""What dissimilarity within slates costs: every policy along its strength, on real logs.

For each set one model is fitted by its published recipe up to a window (--window), and ranks every viewer's candidates
once; both are kept in a folder, so that a second run takes only the curves. Then each policy makes slates of ten
(--slots), without rules, at each strength; --likeness names the vectors by which items are alike.
A curve is the change of NDCG@10 against that of dissimilarity by vector (mean of 1 less the cosine over a slate's
pairs), both in per cent of the ranker's own order of as many places. For longer slates the NDCG of all their
slots is shown too, for NDCG@10 does not see what stands below. What a policy reaches at a loss of 1 % is read off the
upper hull of its points, which mixing two strengths attains, and so is what MMR reaches at the same NDCG.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.core import metrics
from foveate.core.config import from_dict
from foveate.core.metrics import Floats
from foveate.slate.base import DiversityPolicy, SlatePolicy
from foveate.slate.constraints import UNCONSTRAINED
from foveate.slate.relevance import Relevance
from lab.ranked import READERS, RankedWindow, open_set, ranked_window, recipe_of

SLATE_SIZE = 10
STRENGTHS = (0.02, 0.04, 0.07, 0.1, 0.14, 0.17, 0.2, 0.23, 0.27, 0.35, 0.45, 0.6)
LOSS, GAIN = 1.0, 15.0
"""Per cent of NDCG@10 that may be lost, and of dissimilarity that must be gained for it."""


@dataclass(frozen=True)
class Point:
    """Slates of one policy at one strength; changes are in per cent of the ranker's own order.

    ``ndcg_low`` and ``ndcg_high`` bound the change of NDCG@10 at 95 %, viewers resampled in pairs; ``deep_change`` is
    that of the NDCG of all places.
    """

    data: str
    policy: str
    strength: float
    ndcg: float
    by_vector: float
    by_category: float
    ndcg_change: float
    ndcg_low: float
    ndcg_high: float
    deep_change: float
    by_vector_change: float


@dataclass(frozen=True)
class Measured:
    """``[B]`` NDCG@10 and of all places, and mean dissimilarity."""

    ndcg_B: Floats
    deep_B: Floats
    by_vector: float
    by_category: float


class Curves:
    """The slates of one set and what they are measured by."""

    def __init__(self, name: str, window: RankedWindow, vectors_ID: NDArray[np.float32], slots: int) -> None:
        self.name, self._window, self._vectors_ID, self._slots = name, window, vectors_ID, slots
        self._pools = [window.model.slate_input(one) for one in window.ranked]
        self.plain = self._measure(Relevance())

    def point(self, policy: DiversityPolicy) -> Point:
        """Return one point of a curve."""
        own, plain = self._measure(policy), self.plain
        change = metrics.paired_difference(own.ndcg_B, plain.ndcg_B, seed=0).percent
        return Point(
            data=self.name,
            policy=type(policy).name,
            strength=policy.strength,
            ndcg=float(np.nanmean(own.ndcg_B)),
            by_vector=own.by_vector,
            by_category=own.by_category,
            ndcg_change=change.mean,
            ndcg_low=change.low,
            ndcg_high=change.high,
            deep_change=100.0 * float(np.nanmean(own.deep_B) / np.nanmean(plain.deep_B) - 1.0),
            by_vector_change=100.0 * (own.by_vector / plain.by_vector - 1.0),
        )

    def _measure(self, policy: SlatePolicy) -> Measured:
        panel = self._window.panel
        lists_BK = np.full((len(self._pools), self._slots), -1, dtype=np.int32)
        for row, pool in enumerate(self._pools):
            chosen = policy.select(pool, self._slots, UNCONSTRAINED, 0).chosen
            lists_BK[row, : len(chosen)] = pool.codes[chosen]
        found_TK = panel.targets[:, None] == lists_BK[panel.viewer_of_target()]
        ranks_T = np.where(found_TK.any(axis=1), found_TK.argmax(axis=1), np.inf)
        categories = self._window.model.catalog.categories
        return Measured(
            ndcg_B=metrics.multi_ndcg_at(ranks_T, panel.offsets, SLATE_SIZE),
            deep_B=metrics.multi_ndcg_at(ranks_T, panel.offsets, self._slots),
            by_vector=float(np.nanmean(metrics.ild_by_vector(lists_BK, self._vectors_ID))),
            by_category=float(np.nanmean(metrics.ild_by_category(lists_BK, categories))),
        )


def gain_at(points: Sequence[Point], loss: float) -> float:
    """Return the most dissimilarity, in per cent, that mixing two strengths (or none) gains for a loss of NDCG."""
    known = [(0.0, 0.0), *((-point.ndcg_change, point.by_vector_change) for point in points)]
    best = max((gain for own, gain in known if own <= loss), default=0.0)
    for below, low in known:
        for above, high in known:
            if below <= loss < above:
                best = max(best, low + (high - low) * (loss - below) / (above - below))
    return best


def policies(names: Sequence[str]) -> list[type[DiversityPolicy]]:
    known = [cls for _, cls in SlatePolicy.variants.items() if issubclass(cls, DiversityPolicy)]
    return [cls for cls in known if not names or cls.name in names]


def curves(name: str, options: argparse.Namespace, say: Callable[[str], None]) -> list[Point]:
    """Measure every policy on one set."""
    folders = dict(one.split("=", 1) for one in options.data)
    dataset = open_set(name, Path(folders[name]) if name in folders else None)
    recipe = recipe_of(name, options.override)
    window = ranked_window(dataset, recipe, options.window, options.cache, say)
    learned = window.model.item_vectors
    assert learned is not None, "the recipe has no source that learns vectors"
    model = replace(window.model, recipe=replace(window.model.recipe, likeness=options.likeness))
    own = Curves(name, replace(window, model=model), learned, options.slots)
    say(f"{len(window.ranked):,} viewers; NDCG@10 {np.nanmean(own.plain.ndcg_B):.4f}, unlike {own.plain.by_vector:.3f}")
    points = []
    for cls in policies(options.policy):
        for strength in options.strength or STRENGTHS:
            point = own.point(from_dict(cls, {"strength": strength}))
            points.append(point)
            bounds = f"({point.ndcg_low:+.1f} to {point.ndcg_high:+.1f})"
            deep = f", NDCG@{options.slots} {point.deep_change:+5.2f} %" if options.slots != SLATE_SIZE else ""
            say(
                f"{point.policy:17s} {strength:4.2f}: NDCG@10 {point.ndcg_change:+5.2f} % {bounds:17s} unlike by vector"
                f" {point.by_vector_change:+6.1f} %, by category {point.by_category:.3f}{deep}"
            )
    return points


def goals(points: Sequence[Point]) -> list[tuple[str, float, float]]:
    """Return name, value and goal of each figure."""
    figures = []
    for name in dict.fromkeys(point.data for point in points):
        own = [point for point in points if point.data == name]
        gains = {cls: gain_at([p for p in own if p.policy == cls], LOSS) for cls in {p.policy for p in own}}
        best = max(gains, key=lambda policy: gains[policy])
        print(f"{name}: at {LOSS:g} % less NDCG@10 " + ", ".join(f"{p} {g:+.1f} %" for p, g in sorted(gains.items())))
        short = name.replace("-", "_")
        figures.append((f"{short}_gain_of_{best}", gains[best], GAIN))
        if "mmr" in gains:
            figures.append((f"{short}_over_mmr", gains[best] - gains["mmr"], 0.0))
    return figures


_PAGE = """# What dissimilarity within slates costs

Written by `python infra/bench/diversity_curve.py --window {window} --table PAGE`, one seed; both columns are changes
against the ranker's own order, `likeness: {likeness}`, slates of {slots} without rules. What is read off at a loss of
{loss:g} % is on the upper hull of a policy's points, which mixing two strengths attains.
"""
_HEAD = "| policy | strength | NDCG@10 (95 % interval) | unlike by vector |\n| --- | ---: | ---: | ---: |"


def table(points: Sequence[Point], options: argparse.Namespace) -> str:
    """Return every point as Markdown, set by set."""
    page = _PAGE.format(window=options.window, likeness=options.likeness, slots=options.slots, loss=LOSS)
    parts = [page]
    for name in dict.fromkeys(point.data for point in points):
        own = [point for point in points if point.data == name]
        names = dict.fromkeys(point.policy for point in own)
        gains = [f"`{cls}` {gain_at([p for p in own if p.policy == cls], LOSS):+.1f} %" for cls in names]
        rows = [
            f"| `{p.policy}` | {p.strength:g} | {p.ndcg_change:+.2f} % ({p.ndcg_low:+.1f} to {p.ndcg_high:+.1f}) "
            f"| {p.by_vector_change:+.1f} % |"
            for p in own
        ]
        parts += [f"## {name}\n\nAt {LOSS:g} % less NDCG@10: {', '.join(gains)}.\n", "\n".join([_HEAD, *rows, ""])]
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--table", type=Path, help="write every point here, as Markdown")
    parser.add_argument("--set", nargs="+", choices=list(READERS), default=list(READERS), help="which sets")
    parser.add_argument("--data", nargs="*", default=[], metavar="SET=DIR", help="dataset folders, imported already")
    parser.add_argument("--window", choices=["selection", "test"], default="selection", help="whose viewers are asked")
    parser.add_argument("--likeness", choices=["learned", "facts", "both"], default="learned", help="as recipes say it")
    parser.add_argument("--slots", type=int, default=SLATE_SIZE, help="of a slate, 10 or more")
    parser.add_argument("--policy", nargs="*", default=[], help="these policies only")
    parser.add_argument("--strength", nargs="*", type=float, default=[], help="these strengths only")
    parser.add_argument("--override", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the recipes")
    parser.add_argument("--cache", type=Path, default=Path("runs") / "ranked", help="where fitted models are kept")
    options = parser.parse_args()
    start = time.perf_counter()

    def say(line: str) -> None:
        print(f"{time.perf_counter() - start:5.0f} s  {line}", flush=True)

    points = [point for name in options.set for point in curves(name, options, say)]
    figures = goals(points)
    if options.table:
        options.table.write_text(table(points, options), encoding="utf-8")
    if options.json:
        ratios = [{"name": name, "value": value, "goal": f">= {goal:g}"} for name, value, goal in figures]
        options.json.write_text(json.dumps({"ratios": ratios, "points": [asdict(p) for p in points]}, indent=2) + "\n")
    for name, value, goal in figures:
        print(f"ratio {name} {value:.2f} goal >= {goal:g}")


if __name__ == "__main__":
    main()
