"""How a slate is explored: place after place, a draw or what the policy would show next.

An explored place is drawn from the candidates that may stand there: the limits allow them, and the rest of the slate
can still be filled. Any other place shows the first item of the policy's slate that is not shown yet and may stand
there, so what is drawn moves the others down, and the last ones go. The odds of a place depend on the places above it
and on nothing that is drawn later, so the product of a slate's odds is its probability.

Shapes: ``N`` candidates, ``M`` of them that a place is drawn from, ``K`` places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.slate.exploration.completion import Standing
from foveate.slate.exploration.config import SlotDraw
from foveate.slate.exploration.noise import gumbel
from foveate.slate.inputs import SlateInput, by_relevance
from foveate.slate.limits import Limits


@dataclass(frozen=True)
class _Place:
    """What a place shows without exploration, and ``[M]`` what it may show with it, empty where it is not explored."""

    usual: int
    positions: NDArray[np.int64]
    logits: NDArray[np.float64]
    odds: NDArray[np.float64]


def explore(
    ranked: SlateInput, slate: Sequence[int], limits: Limits, draw: SlotDraw, places: frozenset[int]
) -> tuple[list[int], NDArray[np.float64]]:
    """Draw the explored places of a slate.

    Parameters
    ----------
    ranked
        The candidates, in the order of their codes.
    slate
        Positions that the policy chose, in slate order.
    limits
        What it keeps, and what comes out keeps.
    places
        Which places are explored, from 0.

    Returns
    -------
    picks, odds
        As many positions, and ``[K]`` their odds as :class:`~foveate.slate.inputs.Selection` has them.
    """
    odds_K = np.full(len(slate), np.nan)
    walk = _Walk(ranked, slate, limits, draw, places)
    for place in range(len(slate)):
        options = walk.options()
        pick = options.usual
        if len(options.positions):
            noise_M = gumbel(draw.seed, draw.before + place, ranked.codes[options.positions])
            drawn = int((options.logits + noise_M).argmax())
            pick, odds_K[place] = int(options.positions[drawn]), options.odds[drawn]
        walk.take(pick, options)
    return walk.picks, odds_K


def odds_of(
    shown: Sequence[int],
    ranked: SlateInput,
    slate: Sequence[int],
    limits: Limits,
    draw: SlotDraw,
    *,
    places: frozenset[int],
) -> NDArray[np.float64]:
    """Return ``[K]`` the odds by which :func:`explore` shows each place of ``shown`` given the places above.

    A place that is not explored has odds of 1 for what it shows and 0 for all else; below odds of 0 all are 0.
    Parameters are those of :func:`explore`.
    """
    odds_K = np.zeros(len(shown))
    walk = _Walk(ranked, slate, limits, draw, places)
    for place, pick in enumerate(shown):
        options = walk.options()
        drawn = np.flatnonzero(options.positions == pick)
        if len(options.positions):
            odds_K[place] = options.odds[drawn].sum()
        else:
            odds_K[place] = float(pick == options.usual)
        if not odds_K[place]:
            break
        walk.take(pick, options)
    return odds_K


class _Walk:
    """A slate that is filled place after place; parameters are those of :func:`explore`."""

    def __init__(
        self, ranked: SlateInput, slate: Sequence[int], limits: Limits, draw: SlotDraw, places: frozenset[int]
    ) -> None:
        self.picks: list[int] = []
        self._relevance_N = ranked.relevance.astype(np.float64)
        self._order_N = by_relevance(ranked)
        self._finite_N = np.isfinite(ranked.relevance)
        self._waiting = list(slate)
        self._standing = Standing(limits, slate)
        self._policy, self._places = draw.policy, places
        finite = self._relevance_N[self._finite_N]
        span = float(np.ptp(finite)) if len(finite) else 0.0
        self._left = np.inf if draw.budget.relevance is None else draw.budget.relevance * span

    def options(self) -> _Place:
        """Return what the next place may show."""
        usual = self._standing.first(self._waiting)
        explored = len(self.picks) in self._places
        ordered = self._ordered() if explored or usual is None else self._order_N
        if usual is None:
            usual = int(ordered[0])
        nothing, none = np.empty(0, dtype=np.int64), np.empty(0)
        if not explored:
            return _Place(usual, nothing, none, none)
        best = ordered[: self._policy.top]
        # What is not finite comes last, and is never drawn.
        best = best[self._finite_N[best]]
        if self._finite_N[usual]:
            best = best[self._relevance_N[best] >= self._relevance_N[usual] - self._left]
        if len(best) < 2:
            return _Place(usual, nothing, none, none)
        logits_M = self._policy.logits(self._relevance_N[best])
        weights_M = np.exp(logits_M - logits_M.max())
        odds_M = weights_M / weights_M.sum()
        if odds_M.max() >= 1.0:
            # By rounding nothing else can come out: nothing is drawn.
            return _Place(usual, nothing, none, none)
        return _Place(usual, best, logits_M, odds_M)

    def _ordered(self) -> NDArray[np.int64]:
        """Return the candidates that may stand in the next place, the most relevant first."""
        may_N = self._standing.may()
        return self._order_N[may_N[self._order_N]]

    def take(self, position: int, options: _Place) -> None:
        """Show a candidate in the next place."""
        if position != options.usual and self._finite_N[options.usual]:
            self._left -= max(0.0, self._relevance_N[options.usual] - self._relevance_N[position])
        if position in self._waiting:
            self._waiting.remove(position)
        self._standing.take(position)
        self.picks.append(position)
