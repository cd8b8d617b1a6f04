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
from foveate.core.metrics import Difference, Floats, Interval
from foveate.data.catalog import Catalog
from foveate.evaluation.outcomes import SLATE_SIZE, TWO_STAGE, Outcome, Outcomes

NDCG, RECALL, DEEP_RECALL, COVERAGE, DIVERSITY = "ndcg@10", "recall@10", "recall@200", "coverage@10", "ild@10"
GINI = "gini@10"

_PER_VIEWER: Mapping[str, Callable[[Floats, NDArray[np.int64]], Floats]] = {
    NDCG: lambda ranks, offsets: metrics.multi_ndcg_at(ranks, offsets, SLATE_SIZE),
    RECALL: lambda ranks, offsets: metrics.multi_recall_at(ranks, offsets, SLATE_SIZE),
    DEEP_RECALL: lambda ranks, offsets: metrics.multi_recall_at(ranks, offsets, 200),
}


@dataclass(frozen=True)
class Row:
    """One model's figures: means over the seeds, intervals over viewers.

    ``std`` is the standard deviation of a metric over the seeds; ``beside`` holds figures that are not in the
    table.
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
            "config": self.config,
        }


@dataclass(frozen=True)
class _Figures:
    """Everything measured of one model: ``[B]`` by metric (mean over seeds), and the lists ``[B, S, K]``."""

    values: Mapping[str, Floats]
    std: Mapping[str, float]
    lists_BSK: NDArray[np.int32]


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
    seed = 0
    by_model = {name: _figures([o.by_model[name] for o in outcomes], offsets, catalog) for name in outcomes[0].by_model}
    rows = tuple(_row(name, figures, len(catalog), seed) for name, figures in by_model.items())
    best = max((row for row in rows if row.model in sources), key=lambda row: row.metrics[NDCG].mean).model
    ours = by_model[TWO_STAGE].values
    comparisons = tuple(
        Comparison(TWO_STAGE, name, metric, metrics.paired_difference(ours[metric], figures.values[metric], seed))
        for name, figures in by_model.items()
        if name != TWO_STAGE
        for metric in (NDCG, RECALL)
    )
    return rows, comparisons, best


def means(outcome: Outcome, offsets: NDArray[np.int64], catalog: Catalog) -> dict[str, float]:
    """Return the metrics of one model's answers, NaN where one cannot be known.

    Parameters
    ----------
    offsets
        ``[B + 1]`` of the panel's targets.
    """
    per_viewer = {name: _mean(values) for name, values in _figures([outcome], offsets, catalog).values.items()}
    return {**per_viewer, COVERAGE: metrics.coverage(outcome.all_lists(), len(catalog))}


def _figures(outcomes: Sequence[Outcome], offsets: NDArray[np.int64], catalog: Catalog) -> _Figures:
    by_seed: dict[str, list[Floats]] = {name: [] for name in (*_PER_VIEWER, DIVERSITY)}
    for outcome in outcomes:
        for name, metric in _PER_VIEWER.items():
            by_seed[name].append(metric(outcome.all_ranks(), offsets))
        by_seed[DIVERSITY].append(metrics.ild_by_category(outcome.all_lists(), catalog.categories))
    values = {name: np.mean(per_seed, axis=0) for name, per_seed in by_seed.items()}
    std = {name: float(np.std([_mean(v) for v in per_seed])) for name, per_seed in by_seed.items()}
    return _Figures(values, std, np.stack([outcome.all_lists() for outcome in outcomes], axis=1))


def _row(name: str, figures: _Figures, n_items: int, seed: int) -> Row:
    def over_seeds(measure_one: Callable[[NDArray[np.integer], int], float]) -> Interval:
        def mean(lists_BSK: NDArray[np.integer]) -> float:
            return float(np.mean([measure_one(lists_BSK[:, s], n_items) for s in range(lists_BSK.shape[1])]))

        return metrics.bootstrap_lists(mean, figures.lists_BSK, seed, resamples=100)

    own = {metric: metrics.bootstrap_mean(values, seed) for metric, values in figures.values.items()}
    order = (NDCG, RECALL, DEEP_RECALL, COVERAGE, DIVERSITY)
    own[COVERAGE] = over_seeds(metrics.coverage)
    return Row(name, {m: own[m] for m in order}, figures.std, {GINI: over_seeds(metrics.exposure_gini)})


def _mean(values_B: Floats) -> float:
    finite = values_B[np.isfinite(values_B)]
    return float(finite.mean()) if len(finite) else float("nan")


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
        "absolute": _interval_json(comparison.difference.absolute),
        "percent": _interval_json(comparison.difference.percent),
    }


def _interval_json(interval: Interval) -> dict[str, float | None]:
    return {name: _number(value) for name, value in vars(interval).items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
