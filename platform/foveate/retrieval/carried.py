"""Which items of a history carry a source's score, found by taking halves of the history away.

Shapes: ``B`` queries, ``H`` distinct items of one history, ``N`` items that are scored, ``P`` pairs of halves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveate.messages import Query

Score: TypeAlias = Callable[[Sequence[Query]], NDArray[np.float32]]
"""Scores the same ``N`` items for each of ``B`` queries: ``[B, N]``."""

_PAIRS = 64
"""Pairs of halves, at least: two for each item of a history of 32."""

_RIDGE = 2.0
"""Keeps the answer small where there are hardly more pairs than items."""


@dataclass(frozen=True)
class Carried:
    """How much of some items' scores came from each item of a history.

    Parameters
    ----------
    items
        ``[H]`` int32 item codes of the history, each once, the newest first.
    drops
        ``[N, H]`` float32: by how much a score falls without each, in the source's own units; negative where it rises.
    """

    items: NDArray[np.int32]
    drops: NDArray[np.float32]


def liked(query: Query, newest: int = 0) -> NDArray[np.int32]:
    """Return ``[H]`` the distinct items of the positive history, the newest first; of the ``newest`` events, if set."""
    items = query.items[query.positives][-newest:][::-1]
    _, first = np.unique(items, return_index=True)
    return items[np.sort(first)]


def only(query: Query, items: NDArray[np.int32]) -> Query:
    """Return the query as if the viewer had met nothing but ``items``."""
    return _kept(query, np.isin(query.items, items))


def without(query: Query, items: NDArray[np.int32]) -> Query:
    """Return the query as if the viewer had never met ``items``."""
    return _kept(query, ~np.isin(query.items, items))


def by_halves(score: Score, query: Query, items: NDArray[np.int32], n_scored: int) -> Carried:
    """Measure what each history item brings to each score: whatever the source, by asking it about half histories.

    Each half is asked about together with the other half, so that what lies even between them cancels out. The drops
    are the least-squares fit of all answers, and thus estimate each item's Banzhaf value: the mean fall of the score
    when it is taken out of a random part of the history. Two items of which each stands in for the other both count,
    which taking out one at a time would miss. Sources: Hammer and Holzman, Approximations of pseudo-Boolean functions
    (1992), section 3; Wang and Jia, Data Banzhaf (2023), section 4.

    Parameters
    ----------
    items
        ``[H]`` the items of the history that the source reads.
    n_scored
        ``N``, which matters where there is no history to score.
    """
    if not len(items):
        return Carried(items, np.zeros((n_scored, 0), dtype=np.float32))
    pairs = max(_PAIRS, len(items))
    halves_PH = np.tile(np.arange(len(items)) < len(items) // 2, (pairs, 1))
    # The same halves every time: the same question gets the same answer.
    gone_PH = np.random.default_rng(0).permuted(halves_PH, axis=1)
    asked = [only(query, items[kept_H]) for kept_PH in (~gone_PH, gone_PH) for kept_H in kept_PH]
    scores = score(asked).astype(np.float64)
    fall_PN = scores[pairs:] - scores[:pairs]
    sign_PH = np.where(gone_PH, 1.0, -1.0)
    gram_HH = sign_PH.T @ sign_PH + _RIDGE * np.eye(len(items))
    drops_HN = np.linalg.solve(gram_HH, sign_PH.T @ fall_PN)
    return Carried(items, drops_HN.T.astype(np.float32))


def _kept(query: Query, rows: NDArray[np.bool_]) -> Query:
    return replace(
        query,
        items=query.items[rows],
        times=query.times[rows],
        kinds=query.kinds[rows],
        values=query.values[rows],
        positives=query.positives[rows],
    )
