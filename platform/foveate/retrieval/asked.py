"""Answers of a source to a batch of queries: its best items, and its score of any other candidate.

Shapes: ``B`` queries, ``I`` items, ``N`` candidates of one query.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Query

_BLOCKS = 4
"""Blocks for each item that is wanted: so many that not many more items than wanted reach the floor they give."""


class Asked(ABC):
    """A source that was asked.

    Parameters
    ----------
    tops
        For each query the codes of the source's best items, best first.
    """

    def __init__(self, tops: Sequence[NDArray[np.int32]]) -> None:
        self.tops = tops

    @abstractmethod
    def scores_of(self, row: int, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[N]`` the scores of some items for the query at ``row``."""


class Scored(Asked):
    """One that has scored every item."""

    def __init__(self, scores_BI: NDArray[np.float32], queries: Sequence[Query], k: int) -> None:
        super().__init__([top_k(row_I, query.exclude, k) for row_I, query in zip(scores_BI, queries, strict=True)])
        self._scores_BI = scores_BI

    def scores_of(self, row: int, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[N]`` the scores of some items for the query at ``row``."""
        scores_N: NDArray[np.float32] = self._scores_BI[row, items]
        return scores_N


def top_k(scores_I: NDArray[np.float32], exclude: NDArray[np.int32], k: int) -> NDArray[np.int32]:
    """Return the codes of the ``k`` best items, best first and ties by code, leaving out ``exclude``."""
    open_scores = scores_I.astype(np.float32, copy=True)
    open_scores[exclude] = -np.inf
    # Everything that ties with the k-th best must be seen before ties are broken by code.
    codes = np.flatnonzero(open_scores >= _floor(open_scores, k))
    codes = codes[np.isfinite(open_scores[codes])]
    order = np.argsort(-open_scores[codes], kind="stable")[:k]
    return codes[order].astype(np.int32)


def _floor(scores_I: NDArray[np.float32], k: int) -> np.float32:
    """Return a score that at least ``k`` items reach, as high as comes cheap; minus infinity where there are fewer.

    Among many items the best of each of a few blocks are told quickly, and the k-th of those is such a score.
    """
    if not 0 < k < len(scores_I):
        return np.float32(-np.inf)
    width = len(scores_I) // (_BLOCKS * k)
    if width > 1:
        blocks = len(scores_I) // width
        scores_I = scores_I[: blocks * width].reshape(blocks, width).max(axis=1)
    return np.float32(np.partition(scores_I, -k)[-k])
