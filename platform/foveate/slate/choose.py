"""Selection of a slate: greedy, repaired where it gets stuck, and at last without soft rules.

Shapes: ``N`` candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from foveate.slate.constraints import Constraints
from foveate.slate.exploration.config import SlotDraw
from foveate.slate.exploration.draw import explore, odds_of
from foveate.slate.inputs import Selection, SlateInput, Worth, describe, penalised, unit_range
from foveate.slate.limits import Limits, Open
from foveate.slate.repair import Effort, repair
from foveate.slate.rules.base import Rule

_NEAR = 0.8
"""A share of the worth that no slate can exceed: from there on no better slate is looked for."""

_SUNK = np.float32(np.finfo(np.float32).min)
"""The worth of a candidate whose relevance is not finite: below every finite one, above a closed one."""


def choose(
    ranked: SlateInput,
    size: int,
    constraints: Constraints,
    start: Callable[[SlateInput], Worth],
    seed: int,
    *,
    additive: bool = False,
    arrange: Callable[[SlateInput], Worth | None] | None = None,
) -> Decided:
    """Choose up to ``size`` candidates by worth, ties by item code, never breaking a hard rule.

    Soft rules are given up from the last one on, and only where no slate of the same length is found that keeps them.

    Parameters
    ----------
    start
        Makes the policy's worth for one pass over the candidates, which it gets in the order of their codes.
    additive
        Whether an item is worth the same beside any others: then a slate of more worth is looked for where the greedy
        one lies far below what would be shown without constraints.
    arrange
        Makes the worth by which what was chosen is ordered, unless windows leave it no such order; None keeps the
        order of choice.
    """
    order_N = np.arange(len(ranked))
    pool = penalised(ranked, constraints.safety_penalty)
    if (ranked.codes[1:] < ranked.codes[:-1]).any():
        order_N = np.argsort(ranked.codes, kind="stable")
        pool = pool.take(order_N)
    chooser = _Chooser(pool, size, [rule.drawn(seed) for rule in constraints.hard], start, seed, additive=additive)
    soft = [rule.drawn(seed) for rule in constraints.soft]
    chosen, relaxed = chooser.under(soft)
    kept = soft[: len(soft) - len(relaxed)]
    worth = arrange(pool) if arrange else None
    if worth is not None:
        chosen = chooser.arranged(chosen, worth, kept)
    return Decided(ranked, size, order_N, pool, chosen, relaxed, partial(chooser.limits, kept, len(chosen)))


@dataclass(frozen=True)
class Decided:
    """The slate of a policy, before anything is drawn.

    Parameters
    ----------
    ranked, size
        What it was chosen from, and how many places were asked for.
    order, pool
        ``[N]`` positions in ``ranked`` by code, and the candidates so, with the relevance that policies see.
    picks
        Positions in ``pool``, in slate order.
    relaxed
        Labels of the soft rules that had to go.
    make_limits
        Makes what the slate keeps; it is worked out where something is drawn.
    """

    ranked: SlateInput
    size: int
    order: NDArray[np.int64]
    pool: SlateInput
    picks: list[int]
    relaxed: tuple[str, ...]
    make_limits: Callable[[], Limits]

    @cached_property
    def limits(self) -> Limits:
        """What the slate keeps, as arrays over ``pool``."""
        return self.make_limits()

    def selection(self, draw: SlotDraw | None) -> Selection:
        """Return the slate, explored by a draw if there is one."""
        picks, odds_K = self.picks, np.full(len(self.picks), np.nan)
        places = draw.places(len(picks)) if draw else frozenset()
        if draw and places:
            picks, odds_K = explore(self.pool, picks, self.limits, draw, places)
        return describe(self.ranked, self.order[np.array(picks, dtype=np.int64)], self.size, self.relaxed, odds_K)

    def odds(self, shown: NDArray[np.int64], draw: SlotDraw) -> NDArray[np.float64]:
        """Return ``[K]`` by what odds each place shows what it does in ``shown``, given the places above.

        Parameters
        ----------
        shown
            Positions in ``ranked``, in slate order.
        """
        own = np.argsort(self.order)[shown].tolist()
        return odds_of(own, self.pool, self.picks, self.limits, draw, places=draw.places(len(self.picks)))


def greedy(
    limits: Limits,
    worth: Worth,
    sunk: NDArray[np.bool_],
    size: int,
    among: NDArray[np.int64] | None = None,
) -> list[int]:
    """Choose up to ``size`` positions; fewer where the limits leave none open. Ties go to the first position.

    Parameters
    ----------
    sunk
        ``[N]`` bool: candidates that come after all others.
    among
        Choose only from these positions; None takes all.
    """
    still = Open(limits, len(sunk), among)
    any_sunk = bool(sunk.any())
    chosen: list[int] = []
    last: int | None = None
    while len(chosen) < size:
        worth_N = worth(last)
        last = still.best(np.where(sunk, _SUNK, worth_N) if any_sunk else worth_N)
        if last is None:
            break
        still.remove(last)
        chosen.append(last)
    return chosen


class _Chooser:
    def __init__(
        self,
        ranked: SlateInput,
        size: int,
        hard: Sequence[Rule],
        start: Callable[[SlateInput], Worth],
        seed: int,
        *,
        additive: bool,
    ) -> None:
        self._ranked = ranked
        self._start = start
        self._seed = seed
        self._additive = additive
        self._effort = Effort()
        self._sunk_N = ~np.isfinite(ranked.relevance)
        self._slots = min(size, len(ranked))
        # A hard floor keeps its places among those that were asked for, however few candidates there are.
        self._hard = [rule.groups(ranked, size) for rule in hard]
        self._limits: dict[tuple[int, int], Limits] = {}

    def under(self, soft: Sequence[Rule]) -> tuple[list[int], tuple[str, ...]]:
        """Return a slate and the labels of the soft rules that had to go."""
        picks = self._full(soft, self._slots)
        if len(picks) == self._slots:
            return picks, ()
        if not soft:
            return self._longest(picks), ()
        longest = self._longest(self._greedy(self.limits((), self._slots), self._slots))
        for kept in range(len(soft), 0, -1):
            picks = self._full(soft[:kept], len(longest))
            if len(picks) == len(longest):
                return picks, _given_up(soft[kept:])
        return longest, _given_up(soft)

    def arranged(self, picks: list[int], worth: Worth, soft: Sequence[Rule]) -> list[int]:
        """Return the picks with the worthiest first, as far as the hard and these soft rules let it stand there."""
        limits = self.limits(soft, len(picks))
        ordered = greedy(limits, worth, self._sunk_N, len(picks), np.array(picks, dtype=np.int64))
        return ordered if len(ordered) == len(picks) else picks

    def _longest(self, picks: list[int]) -> list[int]:
        """Return the longest slate under the hard rules; ``picks`` is one to start from."""
        limits = self.limits((), self._slots)
        # What can be filled can be filled less far: halve what is open between what was found and what was not.
        beyond = self._slots + 1
        while beyond - len(picks) > 1:
            slots = (beyond + len(picks)) // 2
            found = self._repaired(limits, picks, slots)
            picks, beyond = (picks, slots) if found is None else (found, beyond)
        return picks

    def _full(self, soft: Sequence[Rule], slots: int) -> list[int]:
        """Return a slate of ``slots`` under the hard and these soft rules, or a shorter one where none is found."""
        limits = self.limits(soft, slots)
        picks = self._greedy(limits, slots)
        if len(picks) == slots and not (self._additive and self._is_poor(picks)):
            return picks
        return self._repaired(limits, picks, slots) or picks

    def _is_poor(self, picks: Sequence[int]) -> bool:
        """Say whether a slate is worth much less than one without constraints, both above the least worth."""
        gain_N = np.maximum(self._worth_N - 0.5, 0.0)
        most = np.sort(gain_N)[len(gain_N) - len(picks) :].sum()
        return bool(gain_N[picks].sum() < _NEAR * most)

    @cached_property
    def _worth_N(self) -> NDArray[np.float32]:
        """``[N]``: the worth before anything is chosen, brought to 0.5 to 1, and 0 for scores that are not finite."""
        scaled_N = 0.5 + 0.5 * unit_range(self._start(self._ranked)(None))
        return np.where(self._sunk_N, np.float32(0.0), scaled_N).astype(np.float32)

    def limits(self, soft: Sequence[Rule], slots: int) -> Limits:
        """Return the hard and these soft rules of a slate of ``slots``, as arrays."""
        # The soft rules are the first so many: their number tells them.
        key = len(soft), slots if soft else 0
        if key not in self._limits:
            groups = [*self._hard, *(rule.groups(self._ranked, slots) for rule in soft)]
            self._limits[key] = Limits.stack(groups, len(self._ranked))
        return self._limits[key]

    def _greedy(self, limits: Limits, slots: int, among: NDArray[np.int64] | None = None) -> list[int]:
        return greedy(limits, self._start(self._ranked), self._sunk_N, slots, among)

    def _repaired(self, limits: Limits, picks: Sequence[int], slots: int) -> list[int] | None:
        if not limits.may_fill(slots):
            return None
        found = repair(limits, picks, slots, self._worth_N, self._seed, keep=not self._additive, effort=self._effort)
        if found is None:
            return None
        # The policy orders what the repair has found, unless windows leave it no other order.
        ordered = self._greedy(limits, slots, among=np.array(found, dtype=np.int64))
        return ordered if len(ordered) == slots else found


def _given_up(rules: Sequence[Rule]) -> tuple[str, ...]:
    return tuple(rule.label for rule in reversed(rules))
