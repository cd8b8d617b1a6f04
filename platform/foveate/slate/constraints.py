"""The caps that every policy obeys, and the greedy fill that keeps them and still fills the slate.

Shapes: ``N`` ranked candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveate.slate.base import Constraints, Selection, SlateInput
from foveate.slate.feasible import Completion

Worth: TypeAlias = Callable[[int | None], NDArray[np.float32]]
"""Told which position was chosen last (None at the start), answers ``[N]`` how much each candidate would add now."""

_CLOSED = np.float32(-np.inf)
_SUNK = np.float32(np.finfo(np.float32).min)
"""The worth of a candidate whose relevance is not finite: below every finite one, above a closed one."""


def broken_caps(
    channel: NDArray[np.integer], category: NDArray[np.integer], constraints: Constraints
) -> tuple[str, ...]:
    """Return the names of the caps that a slate of these channel and category codes breaks."""
    caps = {"max_per_channel": (channel, constraints.max_per_channel)}
    caps["max_per_category"] = (category, constraints.max_per_category)
    return tuple(name for name, (codes, cap) in caps.items() if cap is not None and _most(codes) > cap)


def fill(
    ranked: SlateInput, size: int, constraints: Constraints, start: Callable[[SlateInput], Worth]
) -> NDArray[np.int64]:
    """Choose greedily by worth, ties by item code, never breaking a cap; returns positions in slate order.

    Under two caps a greedy choice can use up places that a full slate needed. Where that happens, the choice is made
    again and each pick is held back unless the slate can still be filled after it: as long as the caps allow.

    Parameters
    ----------
    start
        Makes the policy's worth for one pass over the candidates, which it gets in the order of their codes.
    """
    order_N = np.argsort(ranked.codes, kind="stable")
    ordered = SlateInput(
        relevance=ranked.relevance[order_N],
        vectors=ranked.vectors[order_N],
        channel=ranked.channel[order_N],
        category=ranked.category[order_N],
        codes=ranked.codes[order_N],
    )
    size = min(size, len(order_N))
    chosen = _greedy(ordered, size, constraints, start(ordered))
    if len(chosen) < size:
        chosen = _fill_with_foresight(ordered, size, constraints, start, chosen)
    return order_N[np.array(chosen, dtype=np.int64)]


def describe(ranked: SlateInput, chosen: NDArray[np.int64], size: int, relaxed: tuple[str, ...] = ()) -> Selection:
    """Compare a slate with what pure relevance would have shown."""
    top = by_relevance(ranked)[:size]
    return Selection(
        chosen=chosen,
        displaced=top[~np.isin(top, chosen)],
        relaxed=relaxed,
        relevance_paid=_mean_relevance(ranked, top) - _mean_relevance(ranked, chosen),
    )


def by_relevance(ranked: SlateInput) -> NDArray[np.int64]:
    """Return all positions, the most relevant first, ties by item code, scores that are not finite last."""
    relevance_N = np.where(np.isfinite(ranked.relevance), ranked.relevance, -np.inf)
    return np.lexsort((ranked.codes, -relevance_N))


def uncapped(constraints: Constraints) -> Constraints:
    """Return the same constraints without their caps."""
    return replace(constraints, max_per_channel=None, max_per_category=None)


class _Open:
    """Which candidates may still be chosen."""

    def __init__(self, ranked: SlateInput, constraints: Constraints) -> None:
        self.mask_N = np.ones(len(ranked.codes), dtype=bool)
        self._groups: tuple[tuple[NDArray[np.int32], int | None, dict[int, int]], ...] = (
            (ranked.channel, constraints.max_per_channel, {}),
            (ranked.category, constraints.max_per_category, {}),
        )
        self._sunk_N = ~np.isfinite(ranked.relevance)
        self._any_sunk = bool(self._sunk_N.any())
        self._ranked = ranked

    def best(self, worth_N: NDArray[np.float32]) -> int | None:
        if self._any_sunk:
            worth_N = np.where(self._sunk_N, _SUNK, worth_N)
        position = int(np.where(self.mask_N, worth_N, _CLOSED).argmax())
        return position if self.mask_N[position] else None

    def take(self, position: int) -> None:
        self.mask_N[position] = False
        for code_N, cap, held in self._groups:
            code = int(code_N[position])
            if cap is None or code < 0:
                continue
            held[code] = held.get(code, 0) + 1
            if held[code] >= cap:
                self.mask_N &= code_N != code

    def close_kind(self, position: int) -> None:
        """Close every candidate of the same channel and category."""
        channel_N, category_N = self._ranked.channel, self._ranked.category
        self.mask_N &= (channel_N != channel_N[position]) | (category_N != category_N[position])


def _greedy(ranked: SlateInput, size: int, constraints: Constraints, worth: Worth) -> list[int]:
    still = _Open(ranked, constraints)
    chosen: list[int] = []
    last: int | None = None
    while len(chosen) < size and (last := still.best(worth(last))) is not None:
        chosen.append(last)
        still.take(last)
    return chosen


def _fill_with_foresight(
    ranked: SlateInput, size: int, constraints: Constraints, start: Callable[[SlateInput], Worth], greedy: list[int]
) -> list[int]:
    completion = Completion(ranked.channel.tolist(), ranked.category.tolist(), constraints, greedy)
    size = completion.grow(size)
    if size == len(greedy):
        return greedy
    completion = Completion(ranked.channel.tolist(), ranked.category.tolist(), constraints, [])
    completion.grow(size)
    still, worth = _Open(ranked, constraints), start(ranked)
    chosen: list[int] = []
    last: int | None = None
    worth_N = worth(last)
    while len(chosen) < size and (position := still.best(worth_N)) is not None:
        if completion.lock(position, size):
            chosen.append(position)
            still.take(position)
            worth_N = worth(position)
        else:
            # What cannot be completed now never can be, for the slate only grows.
            still.close_kind(position)
    return chosen


def _most(codes: NDArray[np.integer]) -> int:
    known = codes[codes >= 0]
    return int(np.bincount(known).max()) if len(known) else 0


def _mean_relevance(ranked: SlateInput, positions: NDArray[np.int64]) -> float:
    relevance = ranked.relevance[positions]
    finite = relevance[np.isfinite(relevance)]
    return float(finite.mean()) if len(finite) else 0.0
