"""A few steps over what followed what, from a viewer's newest items alone: a baseline that learns nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import sparse

from foveate.core.space import Choice, Space, Uniform
from foveate.data.catalog import Catalog
from foveate.data.events import Histories
from foveate.retrieval.base import Arrays, FitContext, SourceConfig
from foveate.retrieval.sparse import Neighbours, from_arrays, keep_strongest, query_weights, unit_rows


@dataclass(frozen=True)
class TransitionWalk(SourceConfig):
    """Where a walk from the newest items arrives: a log on which it does well asks little of a model.

    With ``P_ij`` the share of the events on item ``i`` that an event on ``j`` followed at once, an item's score is the
    sum over the viewer's newest items ``i`` of ``decay^age * sum_h hop_decay^(h-1) (P^h)_ij``, times
    ``1 + similarity * cos(c_i, c_j)`` where ``c`` marks an item's categories and tags.

    Source: Han et al., An Embarrassingly Simple Graph Heuristic Reveals Shortcut-Solvable Benchmarks for Sequential
    Recommendation (2026), arXiv 2605.07125: candidates within a few hops of the last one or two items, in the order of
    likeness. Here hops are weighed by their chance as well, which also orders items that nothing is known of.

    Parameters
    ----------
    last
        From how many of the newest items it starts.
    decay
        Weight of a start relative to the next newer one.
    hops
        Most steps.
    hop_decay
        Weight of a step relative to the one before.
    similarity
        How much being alike adds.
    neighbours
        How many items each item leads to at most; 0 keeps all.
    """

    name = "transition_walk"

    last: int = 2
    decay: float = 0.5
    hops: int = 2
    hop_decay: float = 0.3
    similarity: float = 1.0
    neighbours: int = 500

    def __post_init__(self) -> None:
        if self.last < 1 or self.hops < 1 or self.neighbours < 0 or self.similarity < 0:
            raise ValueError("last and hops must be 1 or more, and similarity and neighbours 0 or more")
        if not (0 < self.decay <= 1 and 0 < self.hop_decay <= 1):
            raise ValueError(f"decay and hop_decay must be above 0 and at most 1: {self.decay}, {self.hop_decay}")

    def fit(self, context: FitContext) -> Neighbours:
        """Count transitions, and walk from every item."""
        step_II = keep_strongest(_transitions(context.histories), self.neighbours)
        reached_II, walk_II = step_II, step_II
        for hop in range(1, self.hops):
            walk_II = keep_strongest(walk_II @ step_II, self.neighbours)
            reached_II = reached_II + self.hop_decay**hop * walk_II
        # Back where it began: the viewer has met that item.
        reached_II = (reached_II - sparse.diags_array(reached_II.diagonal())).tocsr()
        reached_II.eliminate_zeros()
        if self.similarity:
            reached_II.data *= 1 + self.similarity * _likeness(context.catalog, reached_II)
        return self._source(keep_strongest(reached_II.astype(np.float32), self.neighbours))

    def restore(self, arrays: Arrays, catalog: Catalog) -> Neighbours:
        return self._source(from_arrays(arrays, len(catalog)))

    @classmethod
    def search_space(cls) -> Space:
        return {"last": Choice((1, 2, 3)), "decay": Uniform(0.2, 0.9), "hop_decay": Uniform(0.05, 0.6)}

    def _source(self, reached_II: sparse.csr_matrix) -> Neighbours:
        return Neighbours(self.name, reached_II, partial(query_weights, decay=self.decay, last=self.last))


def _transitions(histories: Histories) -> sparse.csr_matrix:
    """``[I, I]``: of the events on an item that were followed by one on another, the share that each one had."""
    user = np.repeat(np.arange(histories.n_users), np.diff(histories.offsets))
    items, shape = histories.items, (histories.n_items, histories.n_items)
    followed = (user[1:] == user[:-1]) & (items[1:] != items[:-1])
    ones = np.ones(int(followed.sum()))
    counts_II = sparse.csr_matrix((ones, (items[:-1][followed], items[1:][followed])), shape=shape)
    total_I = np.maximum(counts_II.sum(axis=1), 1.0)
    return (sparse.diags_array(1.0 / np.asarray(total_I).ravel()) @ counts_II).tocsr()


def _likeness(catalog: Catalog, pairs_II: sparse.csr_matrix) -> np.ndarray:
    """Return the cosine of the categories and tags of each pair that a matrix holds, in the order of its data."""
    unit_IM = unit_rows(sparse.hstack([catalog.categories, catalog.tags]).astype(np.float64).tocsr())
    row = np.repeat(np.arange(pairs_II.shape[0]), np.diff(pairs_II.indptr))
    return np.asarray(unit_IM[row].multiply(unit_IM[pairs_II.indices]).sum(axis=1)).ravel()
