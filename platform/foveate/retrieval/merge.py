"""The union of what every source proposes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from foveate.messages import Candidates, Query
from foveate.retrieval.base import CandidateSource, top_k


def gather(sources: Sequence[CandidateSource], queries: Sequence[Query], k: int) -> list[Candidates]:
    """Return, for each query, the union of each source's best ``k``, with every source's score of every candidate.

    Parameters
    ----------
    sources
        Fitted sources; their names become the columns.
    queries
        A batch of any size; the answer for one query does not depend on the others.
    k
        How many items each source offers, fewer where the excluded leave fewer.
    """
    names = tuple(source.name for source in sources)
    scores = [source.scores(queries) for source in sources]
    found = [_union(names, [rows_BI[row] for rows_BI in scores], query, k) for row, query in enumerate(queries)]
    return _with_remarks(sources, queries, found)


def _with_remarks(
    sources: Sequence[CandidateSource], queries: Sequence[Query], found: list[Candidates]
) -> list[Candidates]:
    telling = [source for source in sources if source.remark_names]
    if not telling:
        return found
    names = tuple(name for source in telling for name in source.remark_names)
    items = [candidates.items for candidates in found]
    said = zip(*(source.remarks(queries, items) for source in telling), strict=True)
    return [
        replace(candidates, remark_names=names, remarks=np.concatenate(own, axis=1))
        for candidates, own in zip(found, said, strict=True)
    ]


def _union(names: tuple[str, ...], scores: list[NDArray[np.float32]], query: Query, k: int) -> Candidates:
    tops = [top_k(scores_I, query.exclude, k) for scores_I in scores]
    items_N = np.unique(np.concatenate(tops)) if tops else np.empty(0, dtype=np.int32)
    shape = (len(items_N), len(names))
    scores_NS, offered_NS = np.empty(shape, dtype=np.float32), np.zeros(shape, dtype=bool)
    for column, (scores_I, top) in enumerate(zip(scores, tops, strict=True)):
        scores_NS[:, column] = scores_I[items_N]
        offered_NS[np.searchsorted(items_N, top), column] = True
    return Candidates(items_N, names, scores_NS, offered_NS, (), np.empty((len(items_N), 0), dtype=np.float32))
