"""Co-visitation source: items that others watched soon after this viewer's latest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import sparse

from foveate.core.space import Choice, Space, Uniform
from foveate.data.catalog import Catalog
from foveate.data.events import Histories
from foveate.retrieval.base import Arrays, FitContext, SourceConfig
from foveate.retrieval.sparse import Neighbours, from_arrays, keep_strongest, query_weights


@dataclass(frozen=True)
class Covisitation(SourceConfig):
    """Counts of items that follow one another within a window, nearer ones counting more.

    Parameters
    ----------
    window
        Events after an item that count as following it.
    distance_power
        An item that follows ``d`` events later counts ``1 / d ** distance_power``.
    decay
        Weight of a history event relative to the next newer one.
    last
        How many of a viewer's newest events are read.
    directional
        Whether only what comes later counts; else what came before counts too.
    popularity_power
        Counts are divided by the following item's count to this power: 0 not at all, 1 removes popularity.
    neighbours
        How many following items each item keeps; 0 keeps all.
    """

    name = "covisitation"

    window: int = 10
    distance_power: float = 1.0
    decay: float = 0.7
    last: int = 30
    directional: bool = True
    popularity_power: float = 0.0
    neighbours: int = 1000

    def __post_init__(self) -> None:
        if self.window < 1 or self.last < 1 or self.neighbours < 0:
            raise ValueError("window and last must be 1 or more, and neighbours 0 or more")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be above 0 and at most 1, got {self.decay}")

    def fit(self, context: FitContext) -> Neighbours:
        """Count what follows what."""
        follows_II = self._count(context.histories)
        if not self.directional:
            follows_II = (follows_II + follows_II.T).tocsr()
        if self.popularity_power:
            counts_I = np.bincount(context.histories.items, minlength=context.histories.n_items)
            damp_I = np.power(np.maximum(counts_I, 1), -self.popularity_power)
            follows_II = (follows_II @ sparse.diags_array(damp_I)).tocsr()
        return self._source(keep_strongest(follows_II.astype(np.float32), self.neighbours))

    def restore(self, arrays: Arrays, catalog: Catalog) -> Neighbours:
        return self._source(from_arrays(arrays, len(catalog)))

    @classmethod
    def search_space(cls) -> Space:
        return {"window": Choice((5, 10, 20)), "decay": Uniform(0.5, 1.0), "popularity_power": Uniform(0.0, 0.6)}

    def _count(self, histories: Histories) -> sparse.csr_matrix:
        n_items, items = histories.n_items, histories.items
        user = np.repeat(np.arange(histories.n_users), np.diff(histories.offsets))
        total = sparse.csr_matrix((n_items, n_items), dtype=np.float64)
        for distance in range(1, min(self.window, len(items) - 1) + 1):
            same = (user[distance:] == user[:-distance]) & (items[distance:] != items[:-distance])
            earlier, later = items[:-distance][same], items[distance:][same]
            weight = np.full(len(earlier), distance**-self.distance_power)
            total += sparse.csr_matrix((weight, (earlier, later)), shape=(n_items, n_items))
        return total

    def _source(self, follows_II: sparse.csr_matrix) -> Neighbours:
        return Neighbours(self.name, follows_II, partial(query_weights, decay=self.decay, last=self.last))
