"""Features of a candidate from the sources that offered it.

Shapes: ``N`` candidates of one query, ``S`` sources, ``R`` remarks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Candidates

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


def candidate_columns(sources: tuple[str, ...], source_features: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names of the columns that :func:`candidate_values` fills."""
    groups = (score_column, rank_column, z_column)
    return (*(name(source) for name in groups for source in sources), BLEND, "best_rank", "offers", *source_features)


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
    columns = [scores_NS, rank_NS, z_NS, *counts, candidates.source_features]
    return np.concatenate(columns, axis=1).astype(np.float32)


def blend(candidates: Candidates) -> NDArray[np.float32]:
    """Return ``[N]``: the mean of the sources' z-scores, as :data:`BLEND` holds it."""
    column = candidate_columns(candidates.sources, candidates.source_feature_names).index(BLEND)
    return candidate_values(candidates)[:, column]


def z_scores(scores_NS: NDArray[np.float32]) -> NDArray[np.float64]:
    """Bring each source's scores to mean 0 and deviation 1 over the candidates; a source that ties all answers 0."""
    scores = _sunk(scores_NS).astype(np.float64)
    if not len(scores):
        return scores
    centred = scores - scores.mean(axis=0)
    deviation = centred.std(axis=0)
    # A deviation that is rounding alone says nothing.
    varies = deviation > 1e-6 * np.maximum(np.abs(scores).max(axis=0), 1e-12)
    return np.asarray(np.where(varies, centred / np.where(varies, deviation, 1.0), 0.0))


def log_ranks(scores_NS: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log of 1 + each candidate's rank by each source, best 0, ties at mid-rank."""
    columns_SN = np.ascontiguousarray(scores_NS.T)
    sources, candidates = columns_SN.shape
    order_SN = np.argsort(-columns_SN, axis=1, kind="stable") + candidates * np.arange(sources)[:, None]
    ordered_SN = columns_SN.ravel()[order_SN]
    first_SN = np.ones(columns_SN.shape, dtype=bool)
    np.not_equal(ordered_SN[:, 1:], ordered_SN[:, :-1], out=first_SN[:, 1:])
    last_SN = np.ones(columns_SN.shape, dtype=bool)
    last_SN[:, :-1] = first_SN[:, 1:]
    # The first and the last place of those that tie with each.
    positions_N = np.arange(candidates)
    begins_SN = np.maximum.accumulate(np.where(first_SN, positions_N, 0), axis=1)
    ends_SN = np.minimum.accumulate(np.where(last_SN, positions_N, candidates)[:, ::-1], axis=1)[:, ::-1]
    ranks_SN = np.empty(columns_SN.shape)
    ranks_SN.ravel()[order_SN] = 0.5 * (begins_SN + ends_SN)
    return np.asarray(np.log1p(ranks_SN.T))


def _sunk(scores_NS: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put each source's lowest finite score, or 0 without one, where a score is not finite."""
    finite_NS = np.isfinite(scores_NS)
    if finite_NS.all():
        return scores_NS
    lowest_S = np.where(finite_NS, scores_NS, np.inf).min(axis=0)
    return np.where(finite_NS, scores_NS, np.where(np.isfinite(lowest_S), lowest_S, 0.0)).astype(np.float32)
