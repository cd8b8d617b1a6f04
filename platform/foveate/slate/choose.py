"""How every policy comes to its slate: greedily, repaired where it gets stuck, and without soft rules at last.

Shapes: ``N`` candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from foveate.slate.constraints import Constraints
from foveate.slate.greedy import greedy
from foveate.slate.inputs import Selection, SlateInput, Worth, describe, unit_range
from foveate.slate.limits import Limits
from foveate.slate.repair import repair
from foveate.slate.rules.base import Rule


def choose(
    ranked: SlateInput, size: int, constraints: Constraints, start: Callable[[SlateInput], Worth], seed: int
) -> Selection:
    """Choose up to ``size`` candidates by worth, ties by item code, never breaking a hard rule.

    Soft rules are given up from the last one on, and only where no slate of the same length is found that keeps them.

    Parameters
    ----------
    start
        Makes the policy's worth for one pass over the candidates, which it gets in the order of their codes.
    """
    order_N = np.argsort(ranked.codes, kind="stable")
    chooser = _Chooser(ranked.take(order_N), size, constraints.hard, start, seed)
    chosen, relaxed = chooser.under(constraints.soft)
    return describe(ranked, order_N[np.array(chosen, dtype=np.int64)], size, relaxed)


class _Chooser:
    def __init__(
        self, ranked: SlateInput, size: int, hard: Sequence[Rule], start: Callable[[SlateInput], Worth], seed: int
    ) -> None:
        self._ranked = ranked
        self._start = start
        self._seed = seed
        self._sunk_N = ~np.isfinite(ranked.relevance)
        self._places = min(size, len(ranked))
        # A hard floor keeps its places among those that were asked for, however few candidates there are.
        self._hard = [rule.groups(ranked, size) for rule in hard]

    def under(self, soft: Sequence[Rule]) -> tuple[list[int], tuple[str, ...]]:
        """Return a slate and the labels of the soft rules that had to go."""
        picks = self._full(soft, self._places)
        if len(picks) == self._places:
            return picks, ()
        if not soft:
            return self._longest(picks), ()
        longest = self._longest(self._greedy(self._limits((), self._places), self._places))
        for kept in range(len(soft), 0, -1):
            picks = self._full(soft[:kept], len(longest))
            if len(picks) == len(longest):
                return picks, _given_up(soft[kept:])
        return longest, _given_up(soft)

    def _longest(self, picks: list[int]) -> list[int]:
        """Return the longest slate under the hard rules; ``picks`` is one to start from."""
        limits = self._limits((), self._places)
        for places in range(self._places, len(picks), -1):
            found = self._repaired(limits, picks, places)
            if found is not None:
                return found
        return picks

    def _full(self, soft: Sequence[Rule], places: int) -> list[int]:
        """Return a slate of ``places`` under the hard and these soft rules, or a shorter one where none is found."""
        limits = self._limits(soft, places)
        picks = self._greedy(limits, places)
        if len(picks) == places:
            return picks
        return self._repaired(limits, picks, places) or picks

    def _limits(self, soft: Sequence[Rule], places: int) -> Limits:
        return Limits.stack([*self._hard, *(rule.groups(self._ranked, places) for rule in soft)], len(self._ranked))

    def _greedy(self, limits: Limits, places: int, among: NDArray[np.int64] | None = None) -> list[int]:
        return greedy(limits, self._start(self._ranked), self._sunk_N, places, among)

    def _repaired(self, limits: Limits, picks: Sequence[int], places: int) -> list[int] | None:
        if not limits.may_fill(places):
            return None
        # Half a step apart: any finite score is worth more than none.
        worth_N = np.where(self._sunk_N, 0.0, 0.5 + 0.5 * unit_range(self._start(self._ranked)(None)))
        found = repair(limits, picks, places, worth_N.astype(np.float32), self._seed)
        if found is None:
            return None
        # The policy orders what the repair has found, unless windows leave it no other order.
        ordered = self._greedy(limits, places, among=np.array(found, dtype=np.int64))
        return ordered if len(ordered) == places else found


def _given_up(rules: Sequence[Rule]) -> tuple[str, ...]:
    return tuple(rule.label for rule in reversed(rules))
