"""From answers to figures: each with its interval, its comparisons, and what it was made from.

Shapes: ``S`` seeds, ``B`` viewers, ``K`` places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveate.core import metrics
from foveate.core.metrics import Difference, Interval, Sums
from foveate.data.catalog import Catalog
from foveate.evaluation.debiased import DEBIASED_NDCG, debiased
from foveate.evaluation.figures import (
    COVERAGE,
    DEEP_RECALL,
    DIVERSITY,
    NDCG,
    RECALL,
    Figures,
    figures_by_model,
    figures_of,
    finite_mean,
)
from foveate.evaluation.known import Known
from foveate.evaluation.outcomes import TWO_STAGE, Outcome, Outcomes
from foveate.evaluation.panel import Panel
from foveate.evaluation.segments import LIFT, NOVELTY, Segment, lift, lists_of
from foveate.evaluation.spans import Span

GINI = "gini@10"


@dataclass(frozen=True)
class Row:
    """One model's figures: means over the seeds, intervals over viewers.

    ``std`` is the standard deviation of a metric over the seeds; ``beside`` holds figures that the narrow table leaves
    out: the Gini coefficient of exposure, and where it is known what was popular, debiased figures, novelty and lift.
    """

    model: str
    metrics: Mapping[str, Interval]
    std: Mapping[str, float]
    beside: Mapping[str, Interval]


@dataclass(frozen=True)
class Comparison:
    """How far one model lies above another on the same viewers."""

    model: str
    against: str
    metric: str
    difference: Difference


@dataclass(frozen=True)
class Caps:
    """What the constraints did to the slates.

    Parameters
    ----------
    bound
        Share of slates that would break a hard rule without them.
    broken
        How many slates break one: must be 0.
    relaxed
        Share of slates in which a soft rule was given up.
    short
        Share of slates that are not full.
    relevance_paid
        Mean score that policy and constraints cost a slate.
    rules
        All rules in words.
    """

    slates: int
    bound: float
    broken: int
    relaxed: float
    short: float
    relevance_paid: float
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """A table of models and what it was made from.

    Parameters
    ----------
    protocol
        ``leave-one-out`` or ``time``.
    data, content_hash, simulated
        What was evaluated on.
    seeds
        Training seeds that the figures are a mean of.
    viewers, targets, unreachable
        How many were asked, for how many items, and how many of those no model could name.
    diversity
        What ``ild@10`` compares: ``categories``, or ``none`` where the items have none.
    best_source
        The candidate source with the highest NDCG@10.
    config
        The recipe as plain values.
    bundle
        Id of the bundle that was evaluated, None where models were trained.
    notes
        What a reader should know, such as a baseline that was left out and why.
    target_choice
        Which of a window's items were asked for, see :class:`foveate.evaluation.asking.Asking`.
    segments
        Every model's figures by segment of viewers and of items.
    windows
        The windows that the figures are of, oldest first, where there are several.
    ageing
        The parts of the newest window, asked one by one, where that was wanted.
    """

    protocol: str
    data: str
    content_hash: str
    simulated: bool
    seeds: tuple[int, ...]
    viewers: int
    targets: int
    unreachable: int
    diversity: str
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    best_source: str
    caps: Caps
    config: Mapping[str, Any] = field(default_factory=dict)
    bundle: str | None = None
    notes: tuple[str, ...] = ()
    target_choice: str = "all"
    segments: tuple[Segment, ...] = ()
    windows: tuple[Span, ...] = ()
    ageing: tuple[Span, ...] = ()

    def row(self, model: str) -> Row:
        """Return one model's figures."""
        return next(row for row in self.rows if row.model == model)

    def compared(self, against: str, metric: str = NDCG) -> Difference:
        """Return how far two-stage lies above ``against``."""
        wanted = (against, metric)
        return next(c.difference for c in self.comparisons if (c.against, c.metric) == wanted)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; a figure that cannot be known is null."""
        plain = {name: getattr(self, name) for name in ("protocol", "data", "seeds")}
        beside = ("content_hash", "simulated", "viewers", "targets", "unreachable", "diversity", "best_source")
        return {
            **plain,
            "seeds": list(self.seeds),
            "rows": [_row_json(row) for row in self.rows],
            "comparisons": [_comparison_json(comparison) for comparison in self.comparisons],
            "caps": dict(vars(self.caps)),
            **{name: getattr(self, name) for name in beside},
            "bundle": self.bundle,
            "notes": list(self.notes),
            "target_choice": self.target_choice,
            "segments": [_segment_json(segment) for segment in self.segments],
            "windows": [_span_json(span) for span in self.windows],
            "ageing": [_span_json(span) for span in self.ageing],
            "config": self.config,
        }


def measure(
    outcomes: Sequence[Outcomes], offsets: NDArray[np.int64], catalog: Catalog, sources: Collection[str]
) -> tuple[tuple[Row, ...], tuple[Comparison, ...], str]:
    """Return the rows, two-stage against every other ranking, and the name of the best source.

    Parameters
    ----------
    outcomes
        One a seed, all of the same panel.
    offsets
        ``[B + 1]`` of the panel's targets.
    sources
        Which of the models are single candidate sources.
    """
    return Measured(figures_by_model(outcomes, offsets, catalog), len(catalog)).table(sources)


def means(outcome: Outcome, offsets: NDArray[np.int64], catalog: Catalog) -> dict[str, float]:
    """Return the metrics of one model's answers, NaN where one cannot be known.

    Parameters
    ----------
    offsets
        ``[B + 1]`` of the panel's targets.
    """
    per_viewer = {name: finite_mean(values) for name, values in figures_of([outcome], offsets, catalog).values.items()}
    return {**per_viewer, COVERAGE: metrics.coverage(outcome.all_lists(), len(catalog))}


@dataclass(frozen=True)
class Measured:
    """Figures of all models, to be given intervals.

    Parameters
    ----------
    items
        How many the catalogue has.
    viewers_B
        Whose each row is, where a viewer asks several times.
    asked
        The panel and what was known of it: without them nothing is debiased.
    """

    by_model: Mapping[str, Figures]
    items: int
    viewers_B: NDArray[np.int64] | None = None
    asked: tuple[Panel, Known] | None = None
    seed: int = 0

    def table(self, sources: Collection[str]) -> tuple[tuple[Row, ...], tuple[Comparison, ...], str]:
        """Return the rows, two-stage against every other ranking, and the name of the best of the sources."""
        rows = tuple(self._row(name, figures) for name, figures in self.by_model.items())
        best = max((row for row in rows if row.model in sources), key=lambda row: row.metrics[NDCG].mean).model
        ours = self._compared(self.by_model[TWO_STAGE])
        comparisons = tuple(
            Comparison(
                TWO_STAGE,
                name,
                metric,
                metrics.paired_ratios(ours[metric], own, self.seed, viewers_B=self.viewers_B),
            )
            for name, figures in self.by_model.items()
            if name != TWO_STAGE
            for metric, own in self._compared(figures).items()
        )
        return rows, comparisons, best

    def _compared(self, figures: Figures) -> dict[str, Sums]:
        own = {metric: Sums.mean_of(figures.values[metric]) for metric in (NDCG, RECALL)}
        return own | ({DEBIASED_NDCG: debiased(figures, *self.asked)[DEBIASED_NDCG]} if self.asked else {})

    def _row(self, name: str, figures: Figures) -> Row:
        own = {metric: self._interval(Sums.mean_of(values)) for metric, values in figures.values.items()}
        own[COVERAGE] = self._over_lists(metrics.coverage, figures)
        order = (NDCG, RECALL, DEEP_RECALL, COVERAGE, DIVERSITY)
        beside = {GINI: self._over_lists(metrics.exposure_gini, figures)}
        if self.asked is not None:
            panel, known = self.asked
            beside |= {metric: self._interval(sums) for metric, sums in debiased(figures, panel, known).items()}
            lists = lists_of(figures, known)
            beside[NOVELTY] = self._interval(Sums.mean_of(lists.novelty_B))
            beside[LIFT] = lift(lists, known, self.seed, viewers_B=self.viewers_B)
        return Row(name, {metric: own[metric] for metric in order}, figures.std, beside)

    def _interval(self, sums: Sums) -> Interval:
        return metrics.bootstrap_ratio(sums, self.seed, viewers_B=self.viewers_B)

    def _over_lists(self, measure_one: Callable[[NDArray[np.integer], int], float], figures: Figures) -> Interval:
        def mean(lists_BSK: NDArray[np.integer]) -> float:
            return float(np.mean([measure_one(lists_BSK[:, s], self.items) for s in range(lists_BSK.shape[1])]))

        return metrics.bootstrap_lists(mean, figures.lists_BSK, self.seed, resamples=100)


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "model": row.model,
        "metrics": {name: _interval_json(interval) for name, interval in row.metrics.items()},
        "spread": {name: _number(value) for name, value in row.std.items()},
        "beside": {name: _interval_json(interval) for name, interval in row.beside.items()},
    }


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "model": comparison.model,
        "against": comparison.against,
        "metric": comparison.metric,
        **_difference_json(comparison.difference),
    }


def _difference_json(difference: Difference) -> dict[str, Any]:
    return {
        "absolute": _interval_json(difference.absolute),
        "percent": _interval_json(difference.percent),
        "detectable": _number(difference.detectable),
        "detectable_percent": _number(difference.detectable_percent),
    }


def _segment_json(segment: Segment) -> dict[str, Any]:
    return {
        **{name: getattr(segment, name) for name in ("model", "kind", "name", "size")},
        "metrics": {name: _interval_json(interval) for name, interval in segment.metrics.items()},
        "above": segment.above and _difference_json(segment.above),
    }


def _span_json(span: Span) -> dict[str, Any]:
    return {
        **{name: getattr(span, name) for name in ("start", "end", "viewers", "targets")},
        "ndcg@10": {model: _interval_json(interval) for model, interval in span.ndcg.items()},
        "above": {model: _difference_json(difference) for model, difference in span.above.items()},
    }


def _interval_json(interval: Interval) -> dict[str, float | None]:
    return {name: _number(value) for name, value in vars(interval).items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
