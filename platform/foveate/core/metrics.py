"""Metrics of accuracy, diversity and uncertainty, over arrays.

Shapes: ``B`` viewers, ``I`` items, ``T`` targets of all viewers, ``K`` places of a list, ``D`` width of a vector, ``C``
categories. Ranks count from 0. A list that is shorter than ``K`` is filled with ``-1``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]

RESAMPLES = 1000
DETECTABLE = 2.8016
"""Standard errors of a difference that a two-sided test at 5 % finds with a power of 80 %: 1.960 and 0.842 of them.

Source: Bloom, Minimum detectable effects (Evaluation Review 19, 1995), pages 547 to 549.
"""
_CHUNK = 4_000_000
"""How many numbers a temporary array may hold."""
_KEPT = 25_000_000
"""How many numbers the draws of a bootstrap may hold that are kept for the next figure."""


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds that hold it at the stated level."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How far ``a`` lies above ``b`` on the same viewers.

    Parameters
    ----------
    absolute, percent
        The difference itself, and in per cent of ``b`` (NaN if ``b`` is 0).
    detectable, detectable_percent
        The smallest true difference that such a comparison finds in 80 of 100 cases, and that in per cent of ``b``; NaN
        where unknown. See :data:`DETECTABLE`.
    """

    absolute: Interval
    percent: Interval
    detectable: float = float("nan")
    detectable_percent: float = float("nan")


@dataclass(frozen=True)
class Sums:
    """A figure that is the sum of ``top_B`` over that of ``bottom_B``: a mean, a weighted mean, or a ratio of two."""

    top_B: Floats
    bottom_B: Floats

    @classmethod
    def mean_of(cls, values_B: Floats) -> Sums:
        """Return the mean of the finite values."""
        known_B = np.isfinite(values_B)
        return cls(np.where(known_B, values_B, 0.0), known_B.astype(np.float64))

    def over(self, viewers_B: NDArray[np.integer] | None) -> Sums:
        """Return one row a viewer, where ``viewers_B`` says whose each row is: who asks several times counts once."""
        if viewers_B is None:
            return self
        _, own_B = np.unique(viewers_B, return_inverse=True)
        return Sums(
            np.bincount(own_B, self.top_B).astype(np.float64), np.bincount(own_B, self.bottom_B).astype(np.float64)
        )

    def value(self) -> float:
        """Return the figure; NaN where the lower sum is 0."""
        return float(_divide(self.top_B.sum(keepdims=True), self.bottom_B.sum(keepdims=True))[0])


def mid_ranks(
    scores_BI: NDArray[np.floating], targets_B: NDArray[np.integer], exclude: Sequence[NDArray[np.integer]]
) -> Floats:
    """Return ``[B]`` the rank of each viewer's one target among all items.

    Parameters
    ----------
    scores_BI
        Higher is better; a score that is not finite lies below every finite one.
    targets_B
        Item codes.
    exclude
        For each viewer, item codes that never count ahead of the target.
    """
    return mid_ranks_many(scores_BI, np.arange(len(targets_B)), targets_B, exclude)


def mid_ranks_many(
    scores_BI: NDArray[np.floating],
    rows_T: NDArray[np.integer],
    targets_T: NDArray[np.integer],
    exclude: Sequence[NDArray[np.integer]],
) -> Floats:
    """Return ``[T]`` the rank of each target in its viewer's row ``rows_T``.

    A target that ties with ``n`` others ranks in the middle of them, ``n / 2`` below those ahead: an order that the
    model did not give earns nothing.
    """
    # NaN compares false with everything: an excluded item is neither ahead nor a tie.
    open_BI = np.where(np.isfinite(scores_BI), scores_BI, -np.inf)
    target_scores_T = open_BI[rows_T, targets_T]
    for row, codes in enumerate(exclude):
        open_BI[row, codes] = np.nan
    open_BI[rows_T, targets_T] = target_scores_T
    ranks_T = np.empty(len(rows_T))
    step = max(1, _CHUNK // max(1, open_BI.shape[1]))
    for start in range(0, len(rows_T), step):
        part = slice(start, start + step)
        rows_PI, own_P1 = open_BI[rows_T[part]], target_scores_T[part, None]
        ahead_P = (rows_PI > own_P1).sum(axis=1)
        ties_P = (rows_PI == own_P1).sum(axis=1) - 1
        ranks_T[part] = ahead_P + 0.5 * ties_P
    return ranks_T


def mid_ranks_among(
    scores_N: NDArray[np.floating], items_N: NDArray[np.integer], targets: NDArray[np.integer]
) -> Floats:
    """Return the rank of each of one viewer's ``targets`` among its candidates alone, ``inf`` for one not among them.

    Parameters
    ----------
    scores_N, items_N
        The candidates' scores and distinct item codes.
    """
    ranks = np.full(len(targets), np.inf)
    _, at_target, at_item = np.intersect1d(targets, items_N, assume_unique=True, return_indices=True)
    rows = np.zeros(len(at_item), dtype=np.int64)
    ranks[at_target] = mid_ranks_many(scores_N[None, :], rows, at_item, ())
    return ranks


def recall_at(ranks_B: Floats, k: int) -> Floats:
    """Return ``[B]`` 1 where the one target is among the first ``k``, else 0; also called the hit rate."""
    return (ranks_B < k).astype(np.float64)


def ndcg_at(ranks_B: Floats, k: int) -> Floats:
    """Return ``[B]`` the normalised discounted cumulative gain of one target: ``1 / log2(rank + 2)`` within ``k``.

    Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques (2002), section 2.
    """
    return np.where(ranks_B < k, 1.0 / np.log2(ranks_B + 2.0), 0.0)


def multi_recall_at(ranks_T: Floats, offsets: NDArray[np.int64], k: int) -> Floats:
    """Return ``[B]`` the share of a viewer's targets among the first ``k``; NaN for a viewer without one.

    Parameters
    ----------
    ranks_T
        Ranks of all targets, viewer after viewer.
    offsets
        ``[B + 1]``: viewer ``b`` owns ``ranks_T[offsets[b]:offsets[b + 1]]``.
    """
    counts_B = np.diff(offsets)
    return _divide(_sums(recall_at(ranks_T, k), offsets), counts_B.astype(np.float64))


def multi_ndcg_at(ranks_T: Floats, offsets: NDArray[np.int64], k: int) -> Floats:
    """Return ``[B]`` the gain of all of a viewer's targets over that of the best order; NaN for a viewer without one.

    Parameters are those of :func:`multi_recall_at`; with one target each it equals :func:`ndcg_at`.
    """
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))])
    best_B = ideal[np.minimum(np.diff(offsets), k)]
    return _divide(_sums(ndcg_at(ranks_T, k), offsets), best_B)


def coverage(lists_BK: NDArray[np.integer], n_items: int) -> float:
    """Return the share of the catalogue that appears in at least one list."""
    return float((_exposure(lists_BK, n_items) > 0).mean()) if n_items else 0.0


def gini(counts_I: NDArray[np.integer] | Floats) -> float:
    """Return how unequal exposure is: 0 if every item is shown as often, near 1 if one item takes all."""
    sorted_I = np.sort(np.asarray(counts_I, dtype=np.float64))
    total, n = sorted_I.sum(), len(sorted_I)
    if total <= 0:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ sorted_I / (n * total))


def exposure_gini(lists_BK: NDArray[np.integer], n_items: int) -> float:
    """Return the Gini coefficient of how often each item of the catalogue stands in a list."""
    return gini(_exposure(lists_BK, n_items))


def popularity(users: NDArray[np.integer], items: NDArray[np.integer], n_users: int, n_items: int) -> Floats:
    """Return ``[I]`` the share of all viewers who liked each item.

    Its mean over what a group liked is that group's average popularity, and over what it is shown the average
    recommendation popularity.
    Source: Abdollahpouri et al., The unfairness of popularity bias in recommendation (2019), section 3.
    """
    pairs = np.unique(users.astype(np.int64) * n_items + items)
    return np.bincount(pairs % n_items, minlength=n_items) / max(1, n_users)


def ild_by_category(lists_BK: NDArray[np.integer], categories_IC: sparse.csr_matrix) -> Floats:
    """Return ``[B]`` mean pairwise distance within a list: 1 less the Jaccard overlap of two items' categories.

    A pair that has no category at all is left out; a list without a pair is NaN.
    Source: Ziegler et al., Improving recommendation lists through topic diversification (2005), section 3.
    """
    n_categories = categories_IC.shape[1]
    out_B = np.full(len(lists_BK), np.nan)
    for part, lists_PK in _chunks(lists_BK, max(1, n_categories)):
        own_PKC = _gather(categories_IC, lists_PK)
        shared_PKK = own_PKC @ own_PKC.transpose(0, 2, 1)
        size_PK = own_PKC.sum(axis=2)
        either_PKK = size_PK[:, :, None] + size_PK[:, None, :] - shared_PKK
        pair_PKK = _pairs(lists_PK) & (either_PKK > 0)
        distance_PKK = np.where(pair_PKK, 1.0 - shared_PKK / np.maximum(either_PKK, 1.0), 0.0)
        out_B[part] = _divide(distance_PKK.sum(axis=(1, 2)), pair_PKK.sum(axis=(1, 2)).astype(np.float64))
    return out_B


def ild_by_vector(lists_BK: NDArray[np.integer], vectors_ID: NDArray[np.floating]) -> Floats:
    """Return ``[B]`` mean of ``1 - cosine`` over the pairs within a list; NaN for a list without a pair."""
    norms_I1 = np.linalg.norm(vectors_ID, axis=1, keepdims=True)
    unit_ID = vectors_ID / np.where(norms_I1 > 0, norms_I1, 1.0)
    out_B = np.full(len(lists_BK), np.nan)
    for part, lists_PK in _chunks(lists_BK, unit_ID.shape[1]):
        own_PKD = np.where((lists_PK >= 0)[:, :, None], unit_ID[lists_PK], 0.0)
        cosines_PKK = own_PKD @ own_PKD.transpose(0, 2, 1)
        pair_PKK = _pairs(lists_PK)
        distance_PKK = np.where(pair_PKK, 1.0 - cosines_PKK, 0.0)
        out_B[part] = _divide(distance_PKK.sum(axis=(1, 2)), pair_PKK.sum(axis=(1, 2)).astype(np.float64))
    return out_B


def bootstrap_mean(values_B: Floats, seed: int, *, resamples: int = RESAMPLES, level: float = 0.95) -> Interval:
    """Return the mean of the finite values and its percentile bootstrap interval over viewers.

    Source: Efron and Tibshirani, An introduction to the bootstrap (1993), section 13.3.
    """
    kept = values_B[np.isfinite(values_B)]
    if not len(kept):
        return Interval(float("nan"), float("nan"), float("nan"))
    means = np.concatenate([kept[rows].mean(axis=1) for rows in _resamples(len(kept), seed, resamples)])
    return _percentile(float(kept.mean()), means, level)


def paired_difference(
    a_B: Floats, b_B: Floats, seed: int, *, resamples: int = RESAMPLES, level: float = 0.95
) -> Difference:
    """Return how far ``a`` lies above ``b``, resampling viewers with both of their values.

    Raises
    ------
    ValueError
        The two do not hold the same viewers.
    """
    if a_B.shape != b_B.shape:
        raise ValueError(f"paired values must be of the same viewers, got {a_B.shape} and {b_B.shape}")
    both = np.isfinite(a_B) & np.isfinite(b_B)
    pairs_2N = np.stack([a_B[both], b_B[both]])
    if not pairs_2N.shape[1]:
        nothing = Interval(float("nan"), float("nan"), float("nan"))
        return Difference(nothing, nothing)
    drawn = _resamples(pairs_2N.shape[1], seed, resamples)
    means_2R = np.concatenate([pairs_2N[:, rows].mean(axis=2) for rows in drawn], axis=1)
    means_2R = np.concatenate([pairs_2N.mean(axis=1, keepdims=True), means_2R], axis=1)
    excess_R = means_2R[0] - means_2R[1]
    percent_R = 100.0 * _divide(excess_R, means_2R[1])
    return Difference(
        _percentile(excess_R[0], excess_R[1:], level),
        _percentile(percent_R[0], percent_R[1:], level),
        *detectable(excess_R[1:], float(means_2R[1, 0])),
    )


def bootstrap_ratio(
    sums: Sums,
    seed: int,
    *,
    viewers_B: NDArray[np.integer] | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Interval:
    """Return a ratio of sums and its percentile bootstrap interval over viewers.

    Parameters
    ----------
    viewers_B
        Whose each row is, where a viewer has several: they are drawn together. None: every row is another viewer's.

    Source: Efron and Tibshirani (1993), sections 8.3 and 13.3.
    """
    own = sums.over(viewers_B)
    if not len(own.top_B):
        return Interval(float("nan"), float("nan"), float("nan"))
    (drawn_R,) = _drawn([own], seed, resamples)
    return _percentile(sums.value(), drawn_R, level)


def paired_ratios(
    a: Sums,
    b: Sums,
    seed: int,
    *,
    viewers_B: NDArray[np.integer] | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Difference:
    """Return how far one ratio of sums lies above another, resampling viewers with both of their values.

    Parameters are those of :func:`bootstrap_ratio`.
    """
    own_a, own_b = a.over(viewers_B), b.over(viewers_B)
    if not len(own_a.top_B):
        nothing = Interval(float("nan"), float("nan"), float("nan"))
        return Difference(nothing, nothing)
    a_R, b_R = _drawn([own_a, own_b], seed, resamples)
    mean_a, mean_b = a.value(), b.value()
    excess_R = a_R - b_R
    percent = 100.0 * _divide(np.array([mean_a - mean_b]), np.array([mean_b]))[0]
    return Difference(
        _percentile(mean_a - mean_b, excess_R, level),
        _percentile(float(percent), 100.0 * _divide(excess_R, b_R), level),
        *detectable(excess_R, mean_b),
    )


def detectable(excess_R: Floats, mean_b: float) -> tuple[float, float]:
    """Return the smallest true difference that a comparison finds in 80 of 100 cases, and that in per cent of ``b``.

    Parameters
    ----------
    excess_R
        The difference in each resample: its deviation is the standard error.
    mean_b
        What the difference is a share of.
    """
    known = excess_R[np.isfinite(excess_R)]
    least = DETECTABLE * float(known.std()) if len(known) else float("nan")
    return least, 100.0 * least / mean_b if mean_b > 0 else float("nan")


def _drawn(figures: Sequence[Sums], seed: int, resamples: int) -> list[Floats]:
    """``[R]``: each figure in each resample of the same viewers."""
    columns_BC = np.stack([column for one in figures for column in (one.top_B, one.bottom_B)], axis=1)
    n = len(columns_BC)
    sums_RC = np.concatenate([counts_PB @ columns_BC for counts_PB in _counts(n, seed, resamples)])
    return [_divide(sums_RC[:, place], sums_RC[:, place + 1]) for place in range(0, 2 * len(figures), 2)]


def _counts(n: int, seed: int, resamples: int) -> Iterator[Floats]:
    """Yield, some resamples at a time, how often each holds every viewer: a figure is then a product of matrices."""
    # A table asks for the same draws a few hundred times.
    if n * resamples <= _KEPT:
        kept_RB, step = _kept_counts(n, seed, resamples), max(1, _CHUNK // n)
        yield from (kept_RB[start : start + step].astype(np.float64) for start in range(0, resamples, step))
    else:
        yield from (_count(rows_PB, n).astype(np.float64) for rows_PB in _resamples(n, seed, resamples))


@functools.lru_cache(maxsize=4)
def _kept_counts(n: int, seed: int, resamples: int) -> NDArray[np.uint16]:
    return np.concatenate([_count(rows_PB, n) for rows_PB in _resamples(n, seed, resamples)])


def _count(rows_PB: NDArray[np.int64], n: int) -> NDArray[np.uint16]:
    return np.stack([np.bincount(rows_B, minlength=n) for rows_B in rows_PB]).astype(np.uint16)


def bootstrap_lists(
    measure: Callable[[NDArray[np.integer]], float],
    lists_BK: NDArray[np.integer],
    seed: int,
    *,
    resamples: int = 200,
) -> Interval:
    """Return a measure of all lists together, such as coverage, and its 95 % interval over viewers.

    A resample holds fewer distinct viewers, so it can only lose items and its percentiles lie below the value itself:
    the interval is the value with 1.96 bootstrap standard deviations on either side.
    """
    value = measure(lists_BK)
    if not len(lists_BK):
        return Interval(value, value, value)
    drawn = [measure(lists_BK[row]) for rows in _resamples(len(lists_BK), seed, resamples) for row in rows]
    reach = 1.96 * float(np.std(drawn))
    return Interval(value, max(0.0, value - reach), min(1.0, value + reach))


def _exposure(lists_BK: NDArray[np.integer], n_items: int) -> NDArray[np.int64]:
    return np.bincount(lists_BK[lists_BK >= 0], minlength=n_items)


def _sums(values_T: Floats, offsets: NDArray[np.int64]) -> Floats:
    rows_T = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return np.bincount(rows_T, weights=values_T, minlength=len(offsets) - 1).astype(np.float64)


def _divide(a: Floats, b: Floats) -> Floats:
    quotients: Floats = np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0)
    return quotients


def _pairs(lists_PK: NDArray[np.integer]) -> NDArray[np.bool_]:
    filled_PK = lists_PK >= 0
    pair_PKK = filled_PK[:, :, None] & filled_PK[:, None, :]
    return pair_PKK & ~np.eye(lists_PK.shape[1], dtype=bool)


def _gather(categories_IC: sparse.csr_matrix, lists_PK: NDArray[np.integer]) -> Floats:
    flat: Floats = categories_IC[np.maximum(lists_PK, 0).ravel()].toarray().astype(np.float64)
    own_PKC = flat.reshape(*lists_PK.shape, categories_IC.shape[1])
    own_PKC[lists_PK < 0] = 0.0
    return own_PKC


def _chunks(lists_BK: NDArray[np.integer], width: int) -> Iterator[tuple[slice, NDArray[np.integer]]]:
    step = max(1, _CHUNK // max(1, lists_BK.shape[1] * width))
    for start in range(0, len(lists_BK), step):
        yield slice(start, start + step), lists_BK[start : start + step]


def _resamples(n: int, seed: int, resamples: int) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        yield rng.integers(0, n, size=(min(step, resamples - start), n))


def _percentile(mean: float, drawn_R: Floats, level: float) -> Interval:
    tail = 50.0 * (1.0 - level)
    low, high = np.nanpercentile(drawn_R, [tail, 100.0 - tail]) if np.isfinite(drawn_R).any() else (np.nan, np.nan)
    return Interval(float(mean), float(low), float(high))
