"""Likeness of items by what the catalogue says of them, as a candidate source that needs no fitting.

Shapes: ``B`` queries, ``I`` items, ``M`` marks of items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from foveate.core.messages import Query
from foveate.data.catalog import Catalog
from foveate.retrieval.base import Arrays, CandidateSource
from foveate.retrieval.sparse import unit_rows

_WORD: Final = r"\p{L}[\p{L}\p{M}']+"
"""Of a title: two letters or more; a year or a number of a series tells nothing of likeness."""


def item_marks(catalog: Catalog) -> sparse.csr_matrix:
    """Return ``[I, M]`` rows of unit length: words of the title, categories, tags and channel, the rare ones heavier.

    A mark that ``n`` of ``I`` items bear weighs ``log(I / n)``. Source: Sparck Jones, A statistical interpretation of
    term specificity and its application in retrieval (1972), section 3.
    """

    def marks() -> sparse.csr_matrix:
        words = catalog.frame.select(item=pl.int_range(pl.len()), word=pl.col("title").str.to_lowercase())
        words = words.with_columns(pl.col("word").str.extract_all(_WORD)).explode("word").drop_nulls().unique()
        code = words["word"].rank("dense").cast(pl.Int64).to_numpy() - 1
        channel, shape = catalog.channel, (len(catalog), int(code.max(initial=-1)) + 1)
        own = np.flatnonzero(channel >= 0)
        blocks = [
            sparse.csr_matrix((np.ones(len(code)), (words["item"].to_numpy(), code)), shape=shape),
            catalog.categories,
            catalog.tags,
            sparse.csr_matrix((np.ones(len(own)), (own, channel[own])), shape=(len(catalog), len(catalog.channels))),
        ]
        found = sparse.hstack(blocks).astype(np.float64).tocsr()
        weight_M = np.log(max(1, len(catalog)) / np.maximum(1, found.getnnz(axis=0)))
        return unit_rows((found @ sparse.diags_array(weight_M)).tocsr())

    return catalog.once("item_marks", marks)


class Likeness(CandidateSource):
    """Scores items by the cosine of their marks and those of the query's newest event.

    Parameters
    ----------
    catalog
        The items.
    """

    name: str = "likeness"
    reads_history: bool = True

    def __init__(self, catalog: Catalog) -> None:
        self._marks_IM = item_marks(catalog)

    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return ``[B, I]``: from 0 to 1; 0 for every item where there is no event."""
        newest = [query.items[-1:] for query in queries]
        there_B = np.array([len(own) > 0 for own in newest], dtype=bool)
        scores_BI = np.zeros((len(queries), self._marks_IM.shape[0]), dtype=np.float32)
        if there_B.any():
            scores_BI[there_B] = (self._marks_IM[np.concatenate(newest)] @ self._marks_IM.T).toarray()
        return scores_BI

    def arrays(self) -> Arrays:
        """Return nothing: a catalogue is all it takes."""
        return {}
