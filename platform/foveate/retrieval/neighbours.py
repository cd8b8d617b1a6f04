"""A source that is one item-to-item matrix: what the viewer's history weighs, times how close items are.

Shapes: ``B`` queries, ``I`` items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from foveate.core.messages import Query
from foveate.retrieval.attribution import Attribution
from foveate.retrieval.base import Arrays, CandidateSource
from foveate.retrieval.sparse import dense, to_arrays

ReadHistory: TypeAlias = Callable[[Sequence[Query], int], sparse.csr_matrix]
"""Turns queries and the number of items into ``[B, I]`` weights of what the viewers did."""


class Neighbours(CandidateSource):
    """Scores ``history_BI @ closeness_II``; a viewer without history scores 0 everywhere.

    Parameters
    ----------
    name
        Name of the source.
    closeness_II
        Row: an item of the history; column: an item to be scored. CSR, or dense float32.
    read_history
        How a query's history is weighed.
    """

    def __init__(
        self, name: str, closeness_II: sparse.csr_matrix | NDArray[np.float32], read_history: ReadHistory
    ) -> None:
        self.name = name
        self._closeness_II = closeness_II
        self._read_history = read_history

    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return ``[B, I]``."""
        return dense(self._read_history(queries, self._closeness_II.shape[0]) @ self._closeness_II)

    def attribute(self, query: Query, items: NDArray[np.int32]) -> Attribution:
        """Return the terms of the sum that each score is: exactly what each item of the history adds."""
        own = self.read(query)
        weight_H = self._read_history([query], self._closeness_II.shape[0])[:, own].toarray()[0]
        near_HN = dense(self._closeness_II[own][:, items])
        return Attribution(own, np.ascontiguousarray((weight_H[:, None] * near_HN).T, dtype=np.float32))

    def arrays(self) -> Arrays:
        """Return the matrix: its CSR parts, or ``weights`` where it is dense."""
        if sparse.issparse(self._closeness_II):
            return to_arrays(self._closeness_II)
        return {"weights": self._closeness_II}
