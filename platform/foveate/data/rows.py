"""A few rows of a sparse matrix, for a request: scipy's own slicing spends longer on checks than on the numbers.

Shapes: ``N`` chosen rows, ``E`` their stored entries, ``C`` columns, ``U`` of them in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class Rows:
    """The stored entries of some rows.

    Parameters
    ----------
    count
        ``N``, how many rows were chosen.
    row, column
        ``[E]``: where an entry stands, its row counted among the chosen ones.
    value
        ``[E]`` its value.
    """

    count: int
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.generic]

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, chosen: NDArray[np.integer]) -> Rows:
        """Read rows, in the order given; one may be chosen twice."""
        start, lengths = matrix.indptr[chosen], matrix.indptr[chosen + 1] - matrix.indptr[chosen]
        row = np.repeat(np.arange(len(chosen)), lengths)
        within = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        entry = np.repeat(start, lengths) + within
        return cls(len(chosen), row, matrix.indices[entry].astype(np.int64), matrix.data[entry])

    def used(self) -> NDArray[np.int64]:
        """``[U]``: the columns that hold an entry, ascending."""
        return np.unique(self.column)

    def dense(self, columns: NDArray[np.integer]) -> NDArray[np.generic]:
        """``[N, U]``: the rows over these columns, which are ascending and hold all that are used."""
        out = np.zeros((self.count, len(columns)), dtype=self.value.dtype)
        out[self.row, np.searchsorted(columns, self.column)] = self.value
        return out

    def sums(self, width: int) -> NDArray[np.float64]:
        """``[C]``: the sum of each column."""
        return np.asarray(np.bincount(self.column, self.value.astype(np.float64), width), dtype=np.float64)
