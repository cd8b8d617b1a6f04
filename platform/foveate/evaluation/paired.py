"""Paired comparison of two ways to train: the same viewers, several training seeds each.

Shapes: ``S`` seeds, ``B`` viewers, ``R`` resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveate.core.metrics import RESAMPLES, Difference, Floats, Interval, detectable, mid_ranks_many, multi_ndcg_at
from foveate.evaluation.outcomes import SLATE_SIZE
from foveate.evaluation.panel import Panel
from foveate.retrieval.base import CandidateSource

Verdict: TypeAlias = Literal["better", "not distinguishable", "worse", "no verdict"]

LEVEL: Final = 0.95
_SCORES_A_BATCH = 8_000_000
_CHUNK = 4_000_000

RULE: Final = (
    "paired bootstrap over viewers, widened by what differs between the training seeds of either side; better or worse "
    f"where the {LEVEL:.0%} interval of the difference lies on one side of 0"
)
"""What :func:`paired` goes by, in words."""


@dataclass(frozen=True)
class Paired:
    """How far ``a`` lies above ``b``.

    Parameters
    ----------
    difference
        Of the means over viewers and seeds.
    p
        Two-sided: twice the share of resamples that lie on the smaller side of 0, at least one of them.
    by_seed
        The difference of the means over viewers, seed by seed.
    """

    difference: Difference
    p: float
    by_seed: tuple[float, ...]

    @property
    def verdict(self) -> Verdict:
        """What the interval says; one seed gives no verdict, for it tells nothing of the chance of training."""
        if len(self.by_seed) < 2:
            return "no verdict"
        if self.difference.absolute.low > 0:
            return "better"
        return "worse" if self.difference.absolute.high < 0 else "not distinguishable"


def source_ndcg(source: CandidateSource, panel: Panel) -> Floats:
    """Return ``[B]`` the NDCG@10 of each viewer of the panel when the source ranks the whole catalogue."""
    ranks_T = np.full(len(panel.targets), np.inf)
    done = 0
    size = max(1, min(256, _SCORES_A_BATCH // max(1, int(panel.targets.max(initial=0)) + 1)))
    for batch in panel.batches(size):
        asked = np.flatnonzero(batch.reachable)
        excludes = [query.exclude for query in batch.queries]
        rows_T = batch.viewer_of_target()[asked]
        scores_BI = source.scores(batch.queries)
        ranks_T[done + asked] = mid_ranks_many(scores_BI, rows_T, batch.targets[asked], excludes)
        done += len(batch.targets)
    return multi_ndcg_at(ranks_T, panel.offsets, SLATE_SIZE)


def paired(a_SB: Floats, b_SB: Floats, seed: int, *, resamples: int = RESAMPLES) -> Paired:
    """Compare two ways to train on the same viewers.

    Viewers are resampled in pairs, each with the mean of its values over the seeds. What other trainings would have
    come to is not known from the viewers: to each resample is added a draw of Student's t, scaled to the variance
    between the means of the seeds. With one seed nothing is known of it and nothing is added. What a viewer answers
    differently from seed to seed is in both, so that the interval is rather too wide than too narrow.

    Source: Efron and Tibshirani, An introduction to the bootstrap (1993), sections 8.3 and 13.3.

    Parameters
    ----------
    a_SB, b_SB
        One value of each viewer and seed; higher is better.
    seed
        Of the resampling.

    Raises
    ------
    ValueError
        The two do not hold the same seeds and viewers, or there are none.
    """
    if a_SB.shape != b_SB.shape or not a_SB.size:
        raise ValueError(f"paired values must be of the same seeds and viewers, got {a_SB.shape} and {b_SB.shape}")
    rng = np.random.default_rng(seed)
    pairs_2B = np.stack([a_SB.mean(axis=0), b_SB.mean(axis=0)])
    rows_of = _resamples(pairs_2B.shape[1], resamples, rng)
    drawn_2R = np.concatenate([pairs_2B[:, rows_RB].mean(axis=2) for rows_RB in rows_of], axis=1)
    excess_R = drawn_2R[0] - drawn_2R[1] + _of_training(a_SB, b_SB, resamples, rng)
    mean_a, mean_b = pairs_2B.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        percent_R, percent = 100 * excess_R / drawn_2R[1], 100 * (mean_a - mean_b) / mean_b
    side = min((excess_R <= 0).sum(), (excess_R >= 0).sum())
    return Paired(
        Difference(
            _interval(mean_a - mean_b, excess_R),
            _interval(percent, percent_R),
            *detectable(excess_R, float(mean_b)),
        ),
        min(1.0, 2 * max(1, int(side)) / resamples),
        tuple((a_SB.mean(axis=1) - b_SB.mean(axis=1)).tolist()),
    )


def _of_training(a_SB: Floats, b_SB: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """``[R]``: by how much the difference of the means over the seeds might lie off by the chance of training."""
    seeds = len(a_SB)
    if seeds == 1:
        return np.zeros(resamples)
    between = a_SB.mean(axis=1).var(ddof=1) + b_SB.mean(axis=1).var(ddof=1)
    drawn_R: Floats = np.sqrt(between / seeds) * rng.standard_t(2 * (seeds - 1), resamples)
    return drawn_R


def _resamples(viewers: int, resamples: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    step = max(1, _CHUNK // (2 * viewers))
    for start in range(0, resamples, step):
        yield rng.integers(0, viewers, size=(min(step, resamples - start), viewers))


def _interval(mean: float, drawn_R: Floats) -> Interval:
    tail = 50 * (1 - LEVEL)
    low, high = np.nanpercentile(drawn_R, [tail, 100 - tail]) if np.isfinite(drawn_R).any() else (np.nan, np.nan)
    return Interval(float(mean), float(low), float(high))
