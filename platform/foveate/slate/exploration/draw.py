"""How a slate is explored: place after place, a draw or what the policy would show next.

An explored place is drawn from the candidates that may stand there: the limits allow them, and the rest of the slate
can still be filled. Any other place shows the first item of the policy's slate that is not shown yet and may stand
there, so what is drawn moves the others down, and the last ones go. The odds of a place depend on the places above it
and on nothing that is drawn later, so the product of a slate's odds is its probability.

Shapes: ``N`` candidates, ``M`` of them that a place is drawn from, ``K`` places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveate.slate.exploration.completion import Standing
from foveate.slate.exploration.config import SlotDraw
from foveate.slate.exploration.noise import gumbel
from foveate.slate.inputs import SlateInput, by_relevance
from foveate.slate.limits import Limits

_NO_POSITIONS: Final = np.empty(0, dtype=np.int64)
_NO_ODDS: Final = np.empty(0)


class _Place(NamedTuple):
    """What a place shows without exploration, and ``[M]`` what it may show with it, empty where it is not explored."""

    usual: int
    positions: NDArray[np.int64] = _NO_POSITIONS
    logits: NDArray[np.float64] = _NO_ODDS
    odds: NDArray[np.float64] = _NO_ODDS


# As in repair.py.
@np.errstate(invalid="ignore")
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
    explored = sorted(places)
    noise = dict(
        zip(explored, gumbel(draw.seed, [draw.before + place for place in explored], ranked.codes), strict=True)
    )
    for place in range(len(slate)):
        options = walk.options()
        pick = options.usual
        if len(options.positions):
            drawn = int((options.logits + noise[place][options.positions]).argmax())
            pick, odds_K[place] = int(options.positions[drawn]), options.odds[drawn]
        walk.take(pick, options)
    return walk.picks, odds_K


@np.errstate(invalid="ignore")
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
        self._finite_N = np.isfinite(self._relevance_N)
        self._order_N = by_relevance(ranked)
        # What is not finite comes last, and is never drawn.
        self._finite = int(self._finite_N.sum())
        self._waiting = list(slate)
        self._standing = Standing(limits, slate)
        self._policy, self._places = draw.policy, places
        self._left = np.inf
        if draw.budget.relevance is not None and self._finite:
            self._left = draw.budget.relevance * float(np.ptp(self._relevance_N[self._finite_N]))

    def options(self) -> _Place:
        """Return what the next place may show."""
        usual = self._standing.first(self._waiting)
        if usual is None:
            usual = int(self._order_N[self._standing.may()[self._order_N].argmax()])
        if len(self.picks) not in self._places:
            return _Place(usual)
        likely_N = self._order_N[: self._finite]
        best_M = likely_N[self._standing.may()[likely_N]][: self._policy.top]
        if self._left < np.inf and self._finite_N[usual]:
            best_M = best_M[self._relevance_N[best_M] >= self._relevance_N[usual] - self._left]
        if len(best_M) < 2:
            return _Place(usual)
        logits_M = self._policy.logits(self._relevance_N[best_M])
        weights_M = np.exp(logits_M - logits_M.max())
        odds_M = weights_M / weights_M.sum()
        # Where by rounding nothing else can come out nothing is drawn.
        return _Place(usual, best_M, logits_M, odds_M) if odds_M.max() < 1.0 else _Place(usual)

    def take(self, position: int, options: _Place) -> None:
        """Show a candidate in the next place."""
        if position != options.usual and self._finite_N[options.usual]:
            self._left -= max(0.0, self._relevance_N[options.usual] - self._relevance_N[position])
        if position in self._waiting:
            self._waiting.remove(position)
        self._standing.take(position)
        self.picks.append(position)
