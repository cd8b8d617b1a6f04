"""How a slate is explored: place after place, a draw or what the policy would show next.

An explored place is drawn from the candidates that may stand there: the limits allow them, and the rest of the slate
can still be filled. Any other place shows the first item of the policy's slate that is not shown yet and may stand
there, so what is drawn moves the others down, and the last ones go. The odds of a place depend on the places above it
and on nothing that is drawn later, so the product of a slate's odds is its probability.

A candidate of odds ``w`` and a uniform number ``u`` of its own is drawn where ``log(u) / w`` is largest.
Source: Efraimidis and Spirakis, Weighted random sampling with a reservoir (2006), section 3.

Shapes: ``N`` candidates, ``M`` of them that a place is drawn from, ``K`` places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveate.slate.exploration.completion import Standing
from foveate.slate.exploration.config import SlotDraw, uniform
from foveate.slate.inputs import SlateInput
from foveate.slate.limits import Limits


class _Draw(NamedTuple):
    """``[M]`` what an explored place may show, by what odds, and what it shows without exploration.

    The last is None where nothing depends on it.
    """

    positions: NDArray[np.int64]
    odds: NDArray[np.float64]
    usual: int | None


# As in repair.py; odds that are 0 by rounding are never drawn.
@np.errstate(invalid="ignore", divide="ignore")
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
    numbers_SN = uniform(draw.seed, [draw.before + place for place in explored], ranked.codes)
    number_N = dict(zip(explored, numbers_SN, strict=True))
    for place in range(len(slate)):
        options = walk.options()
        if isinstance(options, int):
            walk.take(options)
            continue
        drawn = int((np.log(number_N[place][options.positions]) / options.odds).argmax())
        odds_K[place] = options.odds[drawn]
        walk.take(int(options.positions[drawn]), options.usual)
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
        if isinstance(options, int):
            odds_K[place] = float(pick == options)
        else:
            odds_K[place] = options.odds[options.positions == pick].sum()
        if not odds_K[place]:
            break
        walk.take(pick, None if isinstance(options, int) else options.usual)
    return odds_K


class _Walk:
    """A slate that is filled place after place; parameters are those of :func:`explore`."""

    def __init__(
        self, ranked: SlateInput, slate: Sequence[int], limits: Limits, draw: SlotDraw, places: frozenset[int]
    ) -> None:
        self.picks: list[int] = []
        self._relevance_N = ranked.relevance.astype(np.float64)
        self._finite_N = np.isfinite(self._relevance_N)
        self._order_N = ranked.by_relevance
        # What is not finite comes last, and is never drawn.
        self._finite = int(self._finite_N.sum())
        self._waiting = list(slate)
        self._standing = Standing(limits, slate)
        self._policy, self._places = draw.policy, places
        self._left = np.inf
        if draw.budget.relevance is not None and self._finite:
            self._left = draw.budget.relevance * float(np.ptp(self._relevance_N[self._finite_N]))

    def options(self) -> _Draw | int:
        """Return what the next place draws from, or what it shows where nothing is drawn."""
        if len(self.picks) not in self._places:
            return self._usual()
        best_M = self._standing.best(self._order_N[: self._finite], self._policy.top)
        usual = None
        if self._left < np.inf:
            usual = self._usual()
            if self._finite_N[usual]:
                best_M = best_M[self._relevance_N[best_M] >= self._relevance_N[usual] - self._left]
        if len(best_M) > 1:
            logits_M = self._policy.logits(self._relevance_N[best_M])
            # The first is the likeliest.
            weights_M = np.exp(logits_M - logits_M[0])
            odds_M = weights_M / weights_M.sum()
            # Where by rounding nothing else can come out nothing is drawn.
            if odds_M[0] < 1.0:
                return _Draw(best_M, odds_M, usual)
        return self._usual() if usual is None else usual

    def take(self, position: int, usual: int | None = None) -> None:
        """Show a candidate in the next place; ``usual`` is what is not shown for it."""
        if usual is not None and self._finite_N[usual]:
            self._left -= max(0.0, self._relevance_N[usual] - self._relevance_N[position])
        if position in self._waiting:
            self._waiting.remove(position)
        self._standing.take(position)
        self.picks.append(position)

    def _usual(self) -> int:
        """Return what the next place shows without exploration."""
        usual = self._standing.first(self._waiting)
        return int(self._order_N[self._standing.may()[self._order_N].argmax()]) if usual is None else usual
