"""Where the greedy choice gets stuck: a search for a slate that is full and within its limits.

It starts from the greedy picks, filled up regardless of the limits, and makes the change that removes most excess,
again and again; what was just taken out stays out for a while, so that the search leaves a dead end. Among equal
changes the one that costs least worth is made. Where that leads nowhere it starts again from a random slate.
Source: Minton et al., Minimizing conflicts (1992), section 2, with the short memory of Glover, Tabu search (1989).

Excess is counted by window and group: how many members more than allowed, summed. Shapes: ``N`` candidates, ``G``
groups, ``L`` places, ``W`` windows of one width, ``S`` swaps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveate.slate.limits import Limits

_STARTS = 3
_STEPS = 20
_STEPS_A_PLACE = 5
_NO_MOVE = np.float32(np.inf)


def repair(
    limits: Limits, picks: Sequence[int], places: int, worth: NDArray[np.float32], seed: int
) -> list[int] | None:
    """Return ``places`` positions within the limits, close to ``picks``; None where none are found.

    Parameters
    ----------
    picks
        Positions of the greedy choice, up to ``places``.
    worth
        ``[N]`` float32 between 0 and 1: what a candidate is worth keeping or taking for.
    seed
        Of how long what was taken out stays out, and of where the search starts again.
    """
    search = _Search(limits, picks, places, worth, seed)
    for _ in range(_STARTS):
        if search.settle():
            search.improve(keep=frozenset(picks))
            return [int(position) for position in search.slate]
        search.start_again()
    return None


class _Search:
    def __init__(
        self, limits: Limits, picks: Sequence[int], places: int, worth_N: NDArray[np.float32], seed: int
    ) -> None:
        self._members_GN = limits.members.astype(np.float32)
        self._most_G = limits.most.astype(np.float32)
        self._windows = list(limits.by_window(places))
        self._is_windowed = bool((limits.window < places).any())
        self._worth_N = worth_N
        self._random = np.random.default_rng(seed)
        rest = np.setdiff1d(np.argsort(-worth_N, kind="stable"), picks, assume_unique=True)
        self.slate = np.array([*picks, *rest[: places - len(picks)]], dtype=np.int64)
        self._closed_until_N = np.zeros(len(worth_N), dtype=np.int64)

    def settle(self) -> bool:
        """Change the slate until it is within its limits; False where the steps run out."""
        for step in range(_STEPS + _STEPS_A_PLACE * len(self.slate)):
            excess_LN = self._excess_of_standing()
            own_L = np.take_along_axis(excess_LN, self.slate[:, None], axis=1)[:, 0]
            conflicted = np.flatnonzero(own_L)
            if not len(conflicted):
                return True
            if not (self._is_windowed and self._swap(conflicted, excess_LN, own_L, step)):
                self._replace(conflicted, excess_LN, own_L, step)
        return False

    def start_again(self) -> None:
        """Take any slate, however much its excess."""
        self.slate = self._random.permutation(len(self._worth_N))[: len(self.slate)]
        self._closed_until_N[:] = 0

    def improve(self, keep: frozenset[int]) -> None:
        """Take better candidates for those not in ``keep``, as long as the slate stays within its limits."""
        free = np.array([position not in keep for position in self.slate.tolist()])
        for _ in range(int(free.sum())):
            gain_LN = self._worth_N[None, :] - self._worth_N[self.slate][:, None]
            gain_LN[self._excess_of_standing() > 0] = 0.0
            gain_LN[~free] = 0.0
            gain_LN[:, self.slate] = 0.0
            place, entering = divmod(int(gain_LN.argmax()), gain_LN.shape[1])
            if gain_LN[place, entering] <= 0:
                return
            self.slate[place] = entering

    def _excess_of_standing(self) -> NDArray[np.float32]:
        """``[L, N]``: how much excess candidate ``n`` would make at place ``l``, the others staying as they are."""
        shown_GL = self._members_GN[:, self.slate]
        harm_GL = np.zeros_like(shown_GL)
        for rows, covers_WL in self._windows:
            own_GL, most = shown_GL[rows], self._most_G[rows, None]
            held_GW = own_GL @ covers_WL.T
            # Without a member's own place a window holds one less.
            as_member, as_other = (held_GW > most).astype(np.float32), (held_GW >= most).astype(np.float32)
            harm_GL[rows] = np.where(own_GL > 0, as_member @ covers_WL, as_other @ covers_WL)
        return np.asarray(harm_GL.T @ self._members_GN)

    def _replace(
        self, conflicted: NDArray[np.int64], excess_LN: NDArray[np.float32], own_L: NDArray[np.float32], step: int
    ) -> None:
        leaving_worth = self._worth_N[self.slate[conflicted]]
        # Excess is whole and worth is within one: the factor keeps excess first.
        cost = 2.0 * (excess_LN[conflicted] - own_L[conflicted, None]) - (self._worth_N - leaving_worth[:, None])
        cost[:, self.slate] = _NO_MOVE
        cost[:, self._closed_until_N > step] = _NO_MOVE
        row, entering = divmod(int(cost.argmin()), cost.shape[1])
        if cost[row, entering] == _NO_MOVE:
            return
        place = conflicted[row]
        self._close(int(self.slate[place]), step)
        self.slate[place] = entering

    def _swap(
        self, conflicted: NDArray[np.int64], excess_LN: NDArray[np.float32], own_L: NDArray[np.float32], step: int
    ) -> bool:
        """Let two items change places where that removes at least as much excess as any replacement could."""
        places = len(self.slate)
        pairs = np.array([(a, b) for a in conflicted for b in range(places) if a != b]).reshape(-1, 2)
        pairs = pairs[(self._closed_until_N[self.slate[pairs]] <= step).all(axis=1)]
        if not len(pairs):
            return False
        swapped_SL = np.tile(self.slate, (len(pairs), 1))
        rows = np.arange(len(pairs))
        swapped_SL[rows, pairs[:, 0]], swapped_SL[rows, pairs[:, 1]] = self.slate[pairs[:, 1]], self.slate[pairs[:, 0]]
        change = self._excess_of(swapped_SL) - self._excess_of(self.slate[None, :])
        best = int(change.argmin())
        others = excess_LN[conflicted] - own_L[conflicted, None]
        others[:, self.slate] = _NO_MOVE
        if change[best] > others.min(initial=_NO_MOVE):
            return False
        self._close(int(self.slate[pairs[best, 0]]), step)
        self.slate = swapped_SL[best]
        return True

    def _excess_of(self, slates_SL: NDArray[np.int64]) -> NDArray[np.float32]:
        """``[S]``: the excess of each slate."""
        total_S = np.zeros(len(slates_SL), dtype=np.float32)
        for rows, covers_WL in self._windows:
            held_GSW = self._members_GN[rows][:, slates_SL] @ covers_WL.T
            total_S += np.maximum(held_GSW - self._most_G[rows, None, None], 0.0).sum(axis=(0, 2))
        return total_S

    def _close(self, position: int, step: int) -> None:
        self._closed_until_N[position] = step + 2 + int(self._random.integers(0, 3))
