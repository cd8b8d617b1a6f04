"""What every model comes to for each viewer and each target, as the mean over the seeds.

Shapes: ``S`` seeds, ``B`` viewers, ``T`` targets, ``K`` places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.core import metrics
from foveate.core.metrics import Floats
from foveate.data.catalog import Catalog
from foveate.evaluation.outcomes import SLATE_SIZE, Outcome, Outcomes

NDCG, RECALL, DEEP_RECALL, COVERAGE, DIVERSITY = "ndcg@10", "recall@10", "recall@200", "coverage@10", "ild@10"

_PER_VIEWER: Mapping[str, Callable[[Floats, NDArray[np.int64]], Floats]] = {
    NDCG: lambda ranks, offsets: metrics.multi_ndcg_at(ranks, offsets, SLATE_SIZE),
    RECALL: lambda ranks, offsets: metrics.multi_recall_at(ranks, offsets, SLATE_SIZE),
    DEEP_RECALL: lambda ranks, offsets: metrics.multi_recall_at(ranks, offsets, 200),
}


@dataclass(frozen=True)
class Figures:
    """Everything measured of one model.

    Parameters
    ----------
    values
        ``[B]`` by metric.
    std
        Standard deviation over the seeds of each metric's mean.
    hits_T, gains_T
        Share of the seeds by which each target is among the first ten, and its mean discounted gain there.
    lists_BSK
        What each viewer would be shown, ``-1`` where a list is short.
    """

    values: Mapping[str, Floats]
    std: Mapping[str, float]
    hits_T: Floats
    gains_T: Floats
    lists_BSK: NDArray[np.int32]


def figures_of(outcomes: Sequence[Outcome], offsets: NDArray[np.int64], catalog: Catalog) -> Figures:
    """Measure one model's answers, one outcome a seed."""
    by_seed: dict[str, list[Floats]] = {name: [] for name in (*_PER_VIEWER, DIVERSITY)}
    ranks_ST = np.stack([outcome.all_ranks() for outcome in outcomes])
    for ranks_T, outcome in zip(ranks_ST, outcomes, strict=True):
        for name, metric in _PER_VIEWER.items():
            by_seed[name].append(metric(ranks_T, offsets))
        by_seed[DIVERSITY].append(metrics.ild_by_category(outcome.all_lists(), catalog.categories))
    return Figures(
        {name: np.mean(per_seed, axis=0) for name, per_seed in by_seed.items()},
        {name: float(np.std([finite_mean(v) for v in per_seed])) for name, per_seed in by_seed.items()},
        metrics.recall_at(ranks_ST, SLATE_SIZE).mean(axis=0),
        metrics.ndcg_at(ranks_ST, SLATE_SIZE).mean(axis=0),
        np.stack([outcome.all_lists() for outcome in outcomes], axis=1),
    )


def figures_by_model(outcomes: Sequence[Outcomes], offsets: NDArray[np.int64], catalog: Catalog) -> dict[str, Figures]:
    """Measure every model, in the order of the table.

    Parameters
    ----------
    outcomes
        One a seed, all of the same panel.
    offsets
        ``[B + 1]`` of the panel's targets.
    """
    return {
        name: figures_of([one.by_model[name] for one in outcomes], offsets, catalog) for name in outcomes[0].by_model
    }


def finite_mean(values_B: Floats) -> float:
    """Return the mean of the finite values, NaN where there is none."""
    finite = values_B[np.isfinite(values_B)]
    return float(finite.mean()) if len(finite) else float("nan")
