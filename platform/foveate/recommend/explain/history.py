"""Attribution of a slate's items to the viewer's history, and how faithful it is.

Shapes: ``H`` distinct items of the history, ``N`` items that a source carried, ``R`` random draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Candidates, Query
from foveate.retrieval.attribution import without
from foveate.retrieval.base import CandidateSource

NAMED = 3
"""How many items of the history a sentence names."""

_DRAWS = 20
"""Random draws that the named ones are compared with."""

_NOTHING = 1e-6
"""A fall of less than this share of the largest one is rounding."""


@dataclass(frozen=True, slots=True)
class ItemAttribution:
    """What carried one item, in codes.

    Parameters
    ----------
    source
        Whose score the rest tells of; None where no source that offered the item reads histories.
    items, drops
        The ``H`` items whose absence lowers the score, the most first, and by how much.
    faithfulness
        See :class:`~foveate.recommend.explain.answers.ItemExplanation`.
    attended, weights
        The items that the source looked at most, at most :data:`NAMED`, and their shares.
    attention_faithfulness
        As ``faithfulness``, of ``attended``.
    """

    source: str | None
    items: NDArray[np.int32]
    drops: NDArray[np.float32]
    faithfulness: float | None
    attended: NDArray[np.int32]
    weights: NDArray[np.float32]
    attention_faithfulness: float | None


def attribute_items(
    sources: Sequence[CandidateSource], query: Query, candidates: Candidates, items: NDArray[np.int32]
) -> list[ItemAttribution]:
    """Attribute each of ``items``, which are among ``candidates``, to the history.

    An item that several sources offered is explained by the one in whose order of the candidates it stands highest,
    among those that read histories.
    """
    by_name = {source.name: source for source in sources if source.reads_history}
    owners = [_owner(candidates, item, by_name) for item in items.tolist()]
    by_item: dict[int, ItemAttribution] = {}
    for name in dict.fromkeys(owners):
        own = np.array([i for i, owner in zip(items, owners, strict=True) if owner == name], dtype=np.int32)
        if name is not None:
            by_item |= zip(own.tolist(), _attribute(by_name[name], query, own), strict=True)
    nothing = _nothing(None)
    return [by_item.get(item, nothing) for item in items.tolist()]


def _owner(candidates: Candidates, item: int, by_name: dict[str, CandidateSource]) -> str | None:
    row = int(np.searchsorted(candidates.items, item))
    above_S = (candidates.scores > candidates.scores[row]).sum(axis=0)
    offered = [
        (int(above), column, name)
        for column, (name, above) in enumerate(zip(candidates.sources, above_S, strict=True))
        if candidates.offered[row, column] and name in by_name
    ]
    return min(offered)[2] if offered else None


def _attribute(source: CandidateSource, query: Query, items: NDArray[np.int32]) -> Iterator[ItemAttribution]:
    attribution = source.attribute(query, items)
    if not len(attribution.items):
        yield from [_nothing(source.name)] * len(items)
        return
    order_NH = np.argsort(-attribution.drops, axis=1, kind="stable")
    least_N = _NOTHING * np.abs(attribution.drops).max(axis=1)
    count_N = (attribution.drops > least_N[:, None]).sum(axis=1)
    named = [attribution.items[order_H[: min(n, NAMED)]] for order_H, n in zip(order_NH, count_N, strict=True)]
    weights_H = source.attention_weights(query)
    first_H = np.argsort(-weights_H, kind="stable")[:NAMED] if weights_H is not None else np.empty(0, dtype=np.int64)
    attended = attribution.items[first_H]
    weights = weights_H[first_H] if weights_H is not None else np.empty(0, dtype=np.float32)
    shares = faithfulness(source, query, items, [[one, attended] for one in named])
    for row, (order_H, count, (own, of_attended)) in enumerate(zip(order_NH, count_N, shares, strict=True)):
        lowering = order_H[:count]
        drops = attribution.drops[row, lowering]
        yield ItemAttribution(source.name, attribution.items[lowering], drops, own, attended, weights, of_attended)


def faithfulness(
    source: CandidateSource,
    query: Query,
    items: NDArray[np.int32],
    taken: Sequence[Sequence[NDArray[np.int32]]],
) -> list[list[float | None]]:
    """Say how well some items of the history were named as the cause of others' scores.

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


def _nothing(source: str | None) -> ItemAttribution:
    codes, numbers = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
    return ItemAttribution(source, codes, numbers, None, codes, numbers, None)
