"""What of a viewer's history carried the items of a slate, and how far that is to be believed.

Shapes: ``H`` distinct items of the history, ``N`` items that a source carried, ``R`` random draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Candidates, Query
from foveate.retrieval.base import CandidateSource
from foveate.retrieval.carried import without

NAMED = 3
"""How many items of the history a sentence names."""

_DRAWS = 20
"""Random draws that the named ones are compared with."""

_NOTHING = 1e-6
"""A fall of less than this share of the largest one is rounding."""


@dataclass(frozen=True, slots=True)
class Story:
    """What carried one item, in codes.

    Parameters
    ----------
    source
        Whose score the rest tells of; None where no source that offered the item reads histories.
    items, drops
        The ``H`` items whose absence lowers the score, the most first, and by how much.
    faithfulness
        See :class:`~foveate.recommend.explain.answers.ItemExplanation`.
    looked, looks
        The items that the source looked at most, at most :data:`NAMED`, and their shares.
    look_faithfulness
        As ``faithfulness``, of ``looked``.
    """

    source: str | None
    items: NDArray[np.int32]
    drops: NDArray[np.float32]
    faithfulness: float | None
    looked: NDArray[np.int32]
    looks: NDArray[np.float32]
    look_faithfulness: float | None


def stories(
    sources: Sequence[CandidateSource], query: Query, candidates: Candidates, items: NDArray[np.int32]
) -> list[Story]:
    """Say what carried each of ``items``, which are among ``candidates``.

    An item that several sources offered is explained by the one in whose order of the candidates it stands highest,
    among those that read histories.
    """
    by_name = {source.name: source for source in sources if source.reads_history}
    owners = [_owner(candidates, item, by_name) for item in items.tolist()]
    told: dict[int, Story] = {}
    for name in dict.fromkeys(owners):
        own = np.array([i for i, owner in zip(items, owners, strict=True) if owner == name], dtype=np.int32)
        if name is not None:
            told |= zip(own.tolist(), _told(by_name[name], query, own), strict=True)
    nothing = _nothing(None)
    return [told.get(item, nothing) for item in items.tolist()]


def _owner(candidates: Candidates, item: int, by_name: dict[str, CandidateSource]) -> str | None:
    row = int(np.searchsorted(candidates.items, item))
    above_S = (candidates.scores > candidates.scores[row]).sum(axis=0)
    offered = [
        (int(above), column, name)
        for column, (name, above) in enumerate(zip(candidates.sources, above_S, strict=True))
        if candidates.offered[row, column] and name in by_name
    ]
    return min(offered)[2] if offered else None


def _told(source: CandidateSource, query: Query, items: NDArray[np.int32]) -> Iterator[Story]:
    carried = source.carried(query, items)
    if not len(carried.items):
        yield from [_nothing(source.name)] * len(items)
        return
    order_NH = np.argsort(-carried.drops, axis=1, kind="stable")
    least_N = _NOTHING * np.abs(carried.drops).max(axis=1)
    count_N = (carried.drops > least_N[:, None]).sum(axis=1)
    named = [carried.items[order_H[: min(n, NAMED)]] for order_H, n in zip(order_NH, count_N, strict=True)]
    looks_H = source.looked(query)
    first_H = np.argsort(-looks_H, kind="stable")[:NAMED] if looks_H is not None else np.empty(0, dtype=np.int64)
    looked, looks = carried.items[first_H], looks_H[first_H] if looks_H is not None else np.empty(0, dtype=np.float32)
    believed = faithfulness(source, query, items, [[one, looked] for one in named])
    for row, (order_H, count, (faith, look_faith)) in enumerate(zip(order_NH, count_N, believed, strict=True)):
        lowering = order_H[:count]
        drops = carried.drops[row, lowering]
        yield Story(source.name, carried.items[lowering], drops, faith, looked, looks, look_faith)


def faithfulness(
    source: CandidateSource,
    query: Query,
    items: NDArray[np.int32],
    taken: Sequence[Sequence[NDArray[np.int32]]],
) -> list[list[float | None]]:
    """Say how well some items of the history were singled out as what carried others.

    They are taken out together, and so are as many random ones, again and again: the answer is the share of the draws
    that lower the score less, ties by half. Source: the idea is that of comprehensiveness, DeYoung et al., ERASER
    (2020), section 4.

    Parameters
    ----------
    items
        ``N`` codes of what was carried.
    taken
        For each of ``items``, any number of sets of codes of the history, :data:`NAMED` or fewer in each.

    Returns
    -------
    list of list of float or None
        One number for each set; None for an empty one, and where the history has not twice :data:`NAMED` items.
    """
    own = source.read(query)
    if len(own) < 2 * NAMED:
        return [[None] * len(sets) for sets in taken]
    distinct = {tuple(one.tolist()): one for sets in taken for one in sets}
    sizes = sorted({len(one) for one in distinct.values()} - {0})
    drawn = [own[row] for row in np.random.default_rng(0).permuted(np.tile(np.arange(len(own)), (_DRAWS, 1)), axis=1)]
    gone = [*distinct.values(), *(row[:size] for size in sizes for row in drawn)]
    scores = source.scores_of([query, *(without(query, one) for one in gone)], items).astype(np.float64)
    falls = scores[0] - scores[1:]
    row_of = {key: row for row, key in enumerate(distinct)}
    draws_of = {size: falls[len(distinct) + _DRAWS * i :][:_DRAWS] for i, size in enumerate(sizes)}
    return [
        [
            _share_below(draws_of[len(one)][:, n], falls[row_of[tuple(one.tolist())], n]) if len(one) else None
            for one in sets
        ]
        for n, sets in enumerate(taken)
    ]


def _share_below(falls_R: NDArray[np.float64], fall: float) -> float:
    return float(np.mean(falls_R < fall) + 0.5 * np.mean(falls_R == fall))


def _nothing(source: str | None) -> Story:
    codes, numbers = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
    return Story(source, codes, numbers, None, codes, numbers, None)
