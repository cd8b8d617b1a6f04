"""Attribution of a source's score to the items of a history, found by leaving out thirds of it.

Shapes: ``B`` queries, ``H`` distinct items of one history, ``N`` items that are scored, ``R`` histories with gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Query

Score: TypeAlias = Callable[[Sequence[Query]], NDArray[np.float32]]
"""Scores the same ``N`` items for each of ``B`` queries: ``[B, N]``."""

_CUTS = 64
"""How often a history is cut into thirds, at least; as often as it has items where they are more.

Chosen on the selection window of MovieLens-100K among halves, thirds and single items, by how often what is named first
matters more than what is newest.
"""

_RIDGE = 4.0
"""Keeps the answer small where there are hardly more answers than items."""


@dataclass(frozen=True)
class Attribution:
    """How much of some items' scores came from each item of a history.

    Parameters
    ----------
    items
        ``[H]`` int32 item codes of the history, each once, the newest first.
    drops
        ``[N, H]`` float32: what each adds to each score, in the source's own units: its term, where the score is a sum
        over the history, and elsewhere by how much the score falls without it. Negative where it takes from it.
    """

    items: NDArray[np.int32]
    drops: NDArray[np.float32]


def liked(query: Query, newest: int = 0) -> NDArray[np.int32]:
    """Return ``[H]`` the distinct items of the positive history, the newest first; of the ``newest`` events, if set."""
    items = query.items[query.positives][-newest:][::-1]
    _, first = np.unique(items, return_index=True)
    return items[np.sort(first)]


def without(query: Query, items: NDArray[np.int32]) -> Query:
    """Return the query as if the viewer had never met ``items``."""
    return _kept(query, ~np.isin(query.items, items))


def by_thirds(score: Score, query: Query, items: NDArray[np.int32], n_scored: int) -> Attribution:
    """Measure what each history item brings to each score: whatever the source, by asking it about parts of a history.

    Again and again the history is cut into three random parts, and each part is left out once. The drops are the
    least-squares fit of all answers, and thus estimate each item's weighted Banzhaf value: the mean fall of the score
    when it is taken out of a history that a random third is missing from. Two items of which each stands in for the
    other both count, which taking out one at a time would miss. Sources: Hammer and Holzman, Approximations of
    pseudo-Boolean functions (1992), section 3; Li and Yu, Robust data valuation with weighted Banzhaf values (2023).

    Parameters
    ----------
    items
        ``[H]`` the items of the history that the source reads.
    n_scored
        ``N``, which matters where there is no history to score.
    """
    if not len(items):
        return Attribution(items, np.zeros((n_scored, 0), dtype=np.float32))
    cuts = max(_CUTS, len(items))
    thirds = np.tile(np.arange(len(items)) % 3, (cuts, 1))
    # The same cuts every time: the same question gets the same answer.
    part = np.random.default_rng(0).permuted(thirds, axis=1)
    gone_RH = np.concatenate([part == third for third in range(3)])
    score_RN = score(_with_gaps(query, items, gone_RH)).astype(np.float64)
    # Each item is gone from a third of the histories.
    gone_RH, fall_RN = gone_RH - 1 / 3, score_RN.mean(axis=0) - score_RN
    gram_HH = gone_RH.T @ gone_RH + _RIDGE * np.eye(len(items))
    drops_HN = np.linalg.solve(gram_HH, gone_RH.T @ fall_RN)
    return Attribution(items, drops_HN.T.astype(np.float32))


def _with_gaps(query: Query, items: NDArray[np.int32], gone_RH: NDArray[np.bool_]) -> list[Query]:
    """Return ``R`` queries as if the viewer had met nothing but ``items`` without those that are gone."""
    order_H = np.argsort(items)
    place = np.minimum(np.searchsorted(items, query.items, sorter=order_H), len(items) - 1)
    held = items[order_H[place]] == query.items
    base = _kept(query, held)
    return [_kept(base, ~gone_E) for gone_E in gone_RH[:, order_H[place[held]]]]


def _kept(query: Query, rows: NDArray[np.bool_]) -> Query:
    return replace(
        query,
        items=query.items[rows],
        times=query.times[rows],
        kinds=query.kinds[rows],
        values=query.values[rows],
        positives=query.positives[rows],
    )
