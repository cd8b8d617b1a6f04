"""What the sources say of a candidate, as columns for the ranker.

Shapes: ``N`` candidates of one query, ``S`` sources, ``R`` remarks.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveate.messages import Candidates

_SIDES: Final = ("left", "right")

BLEND = "blend"
"""The mean of the z-scores: the plain blend that a ranker has to beat."""


def score_column(source: str) -> str:
    """Name the column of a source's raw score."""
    return f"score.{source}"


def rank_column(source: str) -> str:
    """Name the column of a source's rank among the candidates."""
    return f"rank.{source}"


def z_column(source: str) -> str:
    """Name the column of a source's z-score among the candidates."""
    return f"z.{source}"


def candidate_columns(sources: tuple[str, ...], remarks: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names of the columns that :func:`candidate_values` fills."""
    groups = (score_column, rank_column, z_column)
    return (*(name(source) for name in groups for source in sources), BLEND, "best_rank", "offers", *remarks)


def candidate_values(candidates: Candidates) -> NDArray[np.float32]:
    """Return ``[N, 3 S + 3 + R]``: scores, log ranks and z-scores by source, their blend, best rank, offers, remarks.

    A score that is not finite counts as its source's lowest, so that every column is finite.
    """
    scores_NS = _sunk(candidates.scores)
    z_NS = z_scores(scores_NS)
    rank_NS = log_ranks(scores_NS)
    # Without a source or a candidate there is nothing to take a mean or a minimum of.
    empty = not scores_NS.size
    blend_N = np.zeros(len(candidates.items)) if empty else z_NS.mean(axis=1)
    best_N = np.zeros(len(candidates.items)) if empty else rank_NS.min(axis=1)
    offers_N = candidates.offered.sum(axis=1)
    counts = [blend_N[:, None], best_N[:, None], offers_N[:, None]]
    columns = [scores_NS, rank_NS, z_NS, *counts, candidates.remarks]
    return np.concatenate(columns, axis=1).astype(np.float32)


def blend(candidates: Candidates) -> NDArray[np.float32]:
    """Return ``[N]``: the mean of the sources' z-scores, as :data:`BLEND` holds it."""
    column = candidate_columns(candidates.sources, candidates.remark_names).index(BLEND)
    return candidate_values(candidates)[:, column]


def z_scores(scores_NS: NDArray[np.float32]) -> NDArray[np.float64]:
    """Bring each source's scores to mean 0 and deviation 1 over the candidates; a source that ties all answers 0."""
    scores = _sunk(scores_NS).astype(np.float64)
    if not len(scores):
        return scores
    centred = scores - scores.mean(axis=0)
    deviation = centred.std(axis=0)
    # A deviation that is rounding alone says nothing.
    told = deviation > 1e-6 * np.maximum(np.abs(scores).max(axis=0), 1e-12)
    return np.asarray(np.where(told, centred / np.where(told, deviation, 1.0), 0.0))


def log_ranks(scores_NS: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log of 1 + each candidate's rank by each source, best 0, ties at mid-rank."""
    columns_SN = np.ascontiguousarray(scores_NS.T)
    order_SN = np.argsort(-columns_SN, axis=1, kind="stable")
    ordered_SN = np.take_along_axis(columns_SN, order_SN, axis=1)
    ranks_SN = np.empty(columns_SN.shape)
    np.put_along_axis(ranks_SN, order_SN, np.arange(columns_SN.shape[1], dtype=np.float64)[None, :], axis=1)
    for source in np.flatnonzero((ordered_SN[:, 1:] == ordered_SN[:, :-1]).any(axis=1)):
        ascending_N = ordered_SN[source, ::-1]
        below_N, upto_N = (ascending_N.searchsorted(columns_SN[source], side=side) for side in _SIDES)
        # Above lie those that are not among the first ``upto``; half of the ties but itself count as well.
        ranks_SN[source] = len(ascending_N) - 0.5 * (below_N + upto_N + 1)
    return np.asarray(np.log1p(ranks_SN.T))


def _sunk(scores_NS: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put each source's lowest finite score, or 0 without one, where a score is not finite."""
    finite_NS = np.isfinite(scores_NS)
    if finite_NS.all():
        return scores_NS
    lowest_S = np.where(finite_NS, scores_NS, np.inf).min(axis=0)
    return np.where(finite_NS, scores_NS, np.where(np.isfinite(lowest_S), lowest_S, 0.0)).astype(np.float32)
