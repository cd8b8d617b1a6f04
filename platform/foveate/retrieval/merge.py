"""The union of what every source proposes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Candidates, Query
from foveate.retrieval.base import Asked, CandidateSource, top_k


def gather(sources: Sequence[CandidateSource], queries: Sequence[Query], counts: Sequence[int]) -> list[Candidates]:
    """Return, for each query, the union of each source's best, with every source's score of every candidate.

    Parameters
    ----------
    sources
        Fitted sources; their names become the columns.
    queries
        A batch of any size; the answer for one query does not depend on the others.
    counts
        How many items each source offers, fewer where the excluded leave fewer.
    """
    names = tuple(source.name for source in sources)
    asked = [source.ask(queries, count) for source, count in zip(sources, counts, strict=True)]
    found = [_union(names, asked, row) for row in range(len(queries))]
    return _with_source_features(sources, queries, found)


def narrowed(candidates: Candidates, counts: Mapping[str, int], source_features: Sequence[str]) -> Candidates:
    """Return what :func:`gather` would have found with fewer sources, or with fewer items of each.

    Parameters
    ----------
    candidates
        With every source that is asked for, each having offered at least as many items.
    counts
        How many items a source offers, by its name, in the order of the columns to return.
    source_features
        Names of what those sources say beside their scores.
    """
    columns = [candidates.sources.index(name) for name in counts]
    scores_NS = candidates.scores[:, columns]
    tops = _tops(list(scores_NS.T), np.empty(0, dtype=np.int32), list(counts.values()))
    # A source's best few of all items are its best few of any items that hold them.
    rows = _joined(tops)
    said = [candidates.source_feature_names.index(name) for name in source_features]
    return Candidates(
        items=candidates.items[rows],
        sources=tuple(counts),
        scores=scores_NS[rows],
        offered=_offered(rows, tops),
        source_feature_names=tuple(source_features),
        source_features=candidates.source_features[rows][:, said],
    )


def _with_source_features(
    sources: Sequence[CandidateSource], queries: Sequence[Query], found: list[Candidates]
) -> list[Candidates]:
    telling = [source for source in sources if source.source_feature_names]
    if not telling:
        return found
    names = tuple(name for source in telling for name in source.source_feature_names)
    items = [candidates.items for candidates in found]
    said = zip(*(source.source_features(queries, items) for source in telling), strict=True)
    return [
        replace(candidates, source_feature_names=names, source_features=np.concatenate(own, axis=1))
        for candidates, own in zip(found, said, strict=True)
    ]


def _union(names: tuple[str, ...], asked: Sequence[Asked], row: int) -> Candidates:
    tops = [source.tops[row] for source in asked]
    items_N = _joined(tops)
    scores_NS = np.empty((len(items_N), len(names)), dtype=np.float32)
    for column, source in enumerate(asked):
        scores_NS[:, column] = source.scores_of(row, items_N)
    nothing = np.empty((len(items_N), 0), dtype=np.float32)
    return Candidates(items_N, names, scores_NS, _offered(items_N, tops), (), nothing)


def _tops(
    scores: Sequence[NDArray[np.float32]], exclude: NDArray[np.int32], counts: Sequence[int]
) -> list[NDArray[np.int32]]:
    return [top_k(scores_I, exclude, count) for scores_I, count in zip(scores, counts, strict=True)]


def _joined(tops: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    return np.unique(np.concatenate(tops)) if tops else np.empty(0, dtype=np.int32)


def _offered(items_N: NDArray[np.int32], tops: list[NDArray[np.int32]]) -> NDArray[np.bool_]:
    offered_NS = np.zeros((len(items_N), len(tops)), dtype=bool)
    for column, top in enumerate(tops):
        offered_NS[np.searchsorted(items_N, top), column] = True
    return offered_NS
