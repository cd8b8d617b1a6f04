"""Sparse matrices of sources: from queries, as plain arrays, and sources that are one item-to-item matrix.

Shapes: ``B`` queries, ``I`` items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from foveate.core.messages import Query
from foveate.data.events import Histories
from foveate.retrieval.attribution import Attribution
from foveate.retrieval.base import Arrays, CandidateSource


def interest_matrix(histories: Histories) -> sparse.csr_matrix:
    """Return ``[U, I]`` float32: 1 where a viewer showed interest in an item, however often."""
    shape = (histories.n_users, histories.n_items)
    ones = np.ones(len(histories.items), dtype=np.float32)
    # A copy: summing duplicates sorts the indices where they lie, and the histories must keep their order.
    return _binary(sparse.csr_matrix((ones, histories.items, histories.offsets), shape=shape, copy=True))


def query_interest(queries: Sequence[Query], n_items: int) -> sparse.csr_matrix:
    """Return ``[B, I]`` float32: 1 where the query's viewer showed interest in an item."""
    return _binary(query_weights(queries, n_items))


def query_weights(queries: Sequence[Query], n_items: int, *, decay: float = 1.0, last: int = 0) -> sparse.csr_matrix:
    """Return ``[B, I]`` float32: what each item of the viewers' positive histories weighs.

    Parameters
    ----------
    decay
        Weight of an event relative to the next newer one; the newest weighs 1. Weights of a repeated item add up.
    last
        How many of the newest events count; 0 counts all.
    """
    histories = [query.items[query.positives][-last:] for query in queries]
    lengths = np.array([len(items) for items in histories], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    age = np.repeat(offsets[1:], lengths) - 1 - np.arange(offsets[-1])
    weights = np.power(decay, age).astype(np.float32)
    items = np.concatenate(histories) if histories else np.empty(0, dtype=np.int32)
    matrix = sparse.csr_matrix((weights, items, offsets), shape=(len(queries), n_items))
    matrix.sum_duplicates()
    return matrix


def keep_strongest(matrix: sparse.csr_matrix, neighbours: int) -> sparse.csr_matrix:
    """Keep each row's ``neighbours`` largest values, ties by column; 0 keeps all."""
    matrix.sum_duplicates()
    counts = np.diff(matrix.indptr)
    if not neighbours or counts.max(initial=0) <= neighbours:
        return matrix
    row = np.repeat(np.arange(matrix.shape[0]), counts)
    order = np.lexsort((matrix.indices, -matrix.data, row))
    place = np.arange(len(order)) - np.repeat(matrix.indptr[:-1], counts)
    kept = np.sort(order[place < neighbours])
    offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, neighbours))])
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], offsets), shape=matrix.shape)


def unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return a matrix with its rows brought to length 1; rows of zeros stay."""
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.diags(np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)).tocsr() @ matrix


def to_arrays(matrix: sparse.csr_matrix) -> Arrays:
    """Return the parts of a CSR matrix."""
    return {
        "data": matrix.data.astype(np.float32),
        "indices": matrix.indices.astype(np.int32),
        "indptr": matrix.indptr.astype(np.int64),
    }


def from_arrays(arrays: Arrays, n_items: int) -> sparse.csr_matrix:
    """Return the ``[I, I]`` matrix whose parts :func:`to_arrays` gave."""
    parts = (arrays["data"], arrays["indices"], arrays["indptr"])
    return sparse.csr_matrix(parts, shape=(n_items, n_items))


def dense(product: sparse.csr_matrix | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a product of queries with a source's matrix as a plain float32 array."""
    plain = product if isinstance(product, np.ndarray) else product.toarray()
    return plain.astype(np.float32, copy=False)


def _binary(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    matrix.sum_duplicates()
    matrix.data = np.ones_like(matrix.data)
    return matrix


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
