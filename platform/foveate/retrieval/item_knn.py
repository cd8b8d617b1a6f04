"""Items that the same viewers liked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from foveate.core.space import Choice, Space
from foveate.data.catalog import Catalog
from foveate.retrieval.base import Arrays, FitContext, SourceConfig
from foveate.retrieval.sparse import Neighbours, from_arrays, interest_matrix, keep_strongest, query_interest


@dataclass(frozen=True)
class ItemKnn(SourceConfig):
    """Cosine between items' viewers, each item keeping its nearest.

    Parameters
    ----------
    neighbours
        How many similar items each item keeps; 0 keeps all.
    shrink
        Added to the cosine's denominator: the similarity of items with few viewers is trusted less.
    """

    name = "item_knn"

    neighbours: int = 100
    shrink: float = 10.0

    def __post_init__(self) -> None:
        if self.neighbours < 0 or self.shrink < 0:
            raise ValueError("neighbours and shrink must be 0 or more")

    def fit(self, context: FitContext) -> Neighbours:
        """Compare every two items that share a viewer."""
        seen_UI = interest_matrix(context.histories)
        shared_II = (seen_UI.T @ seen_UI).tocoo()
        norm_I = np.sqrt(np.bincount(seen_UI.indices, minlength=seen_UI.shape[1]))
        apart = shared_II.row != shared_II.col
        row, col = shared_II.row[apart], shared_II.col[apart]
        cosine = shared_II.data[apart] / (norm_I[row] * norm_I[col] + self.shrink)
        near_II = sparse.csr_matrix((cosine.astype(np.float32), (row, col)), shape=shared_II.shape)
        return Neighbours(self.name, keep_strongest(near_II, self.neighbours), query_interest)

    def restore(self, arrays: Arrays, catalog: Catalog) -> Neighbours:
        return Neighbours(self.name, from_arrays(arrays, len(catalog)), query_interest)

    @classmethod
    def search_space(cls) -> Space:
        return {"neighbours": Choice((50, 100, 200, 500)), "shrink": Choice((0.0, 10.0, 50.0))}
