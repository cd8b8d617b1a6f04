"""Local search for a slate that is full and within its limits, where greedy selection gets stuck.

It starts from the greedy picks, filled up regardless of the limits, and makes the change that removes most excess,
again and again; what was just taken out stays out for a while, so that the search leaves a dead end. Among equal
changes the one that costs least worth is made. Where that leads nowhere it starts again from another slate. A slate's
searches share an :class:`Effort`, so that the worst takes a few milliseconds; it counts steps and not time, for a
replay must come to the same slate on any machine.
Source: Minton et al., Minimizing conflicts (1992), section 2, with the short memory of Glover, Tabu search (1989).

Excess is counted by window and group: how many members more than allowed, summed. Shapes: ``N`` candidates, ``G``
groups, ``L`` places, ``W`` windows of one width, ``S`` swaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from foveate.slate.limits import Limits

_RANDOM_STARTS = 1
_PATIENCE = 8
"""Steps without less excess than before after which a search gives up."""

_EXCHANGES, _EXCHANGE_PATIENCE = 16, 4
_PAIRS = 64
"""How many swaps are tried a step."""

EFFORT = 30.0
"""Of one slate: some milliseconds, whatever its size. More finds hardly any slate more."""
_STEP, _CELLS = 0.5, 16_000.0
"""What a step costs at least, and how many pairs of place and candidate cost 1 more."""

_NO_MOVE = np.float32(np.inf)


class Effort:
    """How much searching is left for one slate: a step costs the more, the more it has to look at."""

    def __init__(self, left: float = EFFORT) -> None:
        self._left = left

    def spend(self, cells: int) -> bool:
        """Pay for one step over so many pairs of place and candidate; False where nothing is left."""
        self._left -= _STEP + cells / _CELLS
        return self._left >= 0.0


# Small products of finite numbers were seen to set the processor's flag for invalid ones, at random.
@np.errstate(invalid="ignore")
def repair(
    limits: Limits,
    picks: Sequence[int],
    slots: int,
    worth: NDArray[np.float32],
    seed: int,
    *,
    keep: bool,
    effort: Effort,
) -> list[int] | None:
    """Return ``slots`` positions within the limits, close to ``picks``; None where none are found.

    Parameters
    ----------
    picks
        Positions of the greedy choice, up to ``slots``.
    worth
        ``[N]`` float32 between 0 and 1: what a candidate is worth keeping or taking for.
    seed
        Of how long what was taken out stays out, and of where the search starts again.
    keep
        Whether picks stay where the limits do not drive them out; if not, the slate of most worth is looked for.
    effort
        What the search may cost.
    """
    search = _Search(limits, slots, worth, seed, effort)
    best: NDArray[np.int64] | None = None
    for slate in search.starts(picks):
        search.slate = slate
        if not search.settle(_PATIENCE):
            continue
        search.improve(keep=frozenset(picks if keep else ()))
        if not keep:
            search.exchange()
        if best is None or search.worth_of(search.slate) > search.worth_of(best):
            best = search.slate
        if keep:
            break
    return None if best is None else [int(position) for position in best]


class _Search:
    def __init__(self, limits: Limits, slots: int, worth_N: NDArray[np.float32], seed: int, effort: Effort) -> None:
        self._effort, self._cells = effort, slots * len(worth_N)
        self._members_GN = limits.members.astype(np.float32)
        self._most_G = limits.most.astype(np.float32)
        self._windows = list(limits.by_window(slots))
        self._narrow = [(rows, covers_WL) for rows, covers_WL in self._windows if len(covers_WL) > 1]
        self._worth_N = worth_N
        self._random = np.random.default_rng(seed)
        self._by_worth_N = np.argsort(-worth_N, kind="stable")
        self._closed_until_N = np.zeros(len(worth_N), dtype=np.int64)
        self.slate = self._by_worth_N[:slots]

    def starts(self, picks: Sequence[int]) -> Iterator[NDArray[np.int64]]:
        """Yield slates whatever their excess: the picks filled up, the worthiest, and random ones."""
        slots = len(self.slate)
        rest = np.setdiff1d(self._by_worth_N, picks, assume_unique=True)
        yield np.array([*picks, *rest[: slots - len(picks)]], dtype=np.int64)
        yield self._by_worth_N[:slots].copy()
        for _ in range(_RANDOM_STARTS):
            yield self._random.permutation(len(self._worth_N))[:slots]

    def worth_of(self, slate: NDArray[np.int64]) -> float:
        """Return what the items of a slate are worth together."""
        return float(self._worth_N[slate].sum())

    def settle(self, patience: int, stays: int = -1) -> bool:
        """Change the slate until it is within its limits; False where that leads nowhere. ``stays`` is not replaced."""
        self._closed_until_N[:] = 0
        least, least_at = np.inf, 0
        for step in count():
            if not self._effort.spend(self._cells):
                return False
            excess_LN = self._excess_of_standing()
            own_L = np.take_along_axis(excess_LN, self.slate[:, None], axis=1)[:, 0]
            if not own_L.any():
                return True
            conflicted = np.flatnonzero((own_L > 0) & (self.slate != stays))
            if own_L.sum() < least:
                least, least_at = own_L.sum(), step
            if step - least_at >= patience or not len(conflicted):
                return False
            if not (self._narrow and self._swap(conflicted, excess_LN, own_L, step)):
                self._replace(conflicted, excess_LN, own_L, step)
        raise AssertionError("a search that never gives up")

    def exchange(self) -> None:
        """Let one of the best outside in after the other, settle around it, and keep what that makes worth more."""
        for entering in self._by_worth_N[: len(self.slate) + _EXCHANGES]:
            if entering in self.slate:
                continue
            if not self._effort.spend(self._cells):
                return
            before, excess_L = self.slate.copy(), self._excess_of_standing()[:, entering]
            self.slate[int((2.0 * excess_L + self._worth_N[self.slate]).argmin())] = entering
            reached = self.settle(_EXCHANGE_PATIENCE, stays=int(entering))
            if not reached or self.worth_of(self.slate) <= self.worth_of(before):
                self.slate = before

    def improve(self, keep: frozenset[int]) -> None:
        """Take better candidates for those not in ``keep``, as long as the slate stays within its limits."""
        free = np.array([position not in keep for position in self.slate.tolist()])
        for _ in range(int(free.sum())):
            if not self._effort.spend(self._cells):
                return
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
        full = np.flatnonzero(harm_GL.any(axis=1))
        return np.asarray(harm_GL[full].T @ self._members_GN[full])

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
        pairs = np.stack(np.meshgrid(conflicted, np.arange(len(self.slate)), indexing="ij"), axis=-1).reshape(-1, 2)
        is_open = (self._closed_until_N[self.slate[pairs]] <= step).all(axis=1) & (pairs[:, 0] != pairs[:, 1])
        pairs = self._random.permutation(pairs[is_open])[:_PAIRS]
        if not len(pairs):
            return False
        swapped_SL, rows = np.tile(self.slate, (len(pairs), 1)), np.arange(len(pairs))[:, None]
        swapped_SL[rows, pairs] = self.slate[pairs[:, ::-1]]
        change_S = self._excess_in_windows(swapped_SL) - self._excess_in_windows(self.slate[None, :])
        best = int(change_S.argmin())
        others = excess_LN[conflicted] - own_L[conflicted, None]
        others[:, self.slate] = _NO_MOVE
        if change_S[best] > others.min(initial=_NO_MOVE):
            return False
        self._close(int(self.slate[pairs[best, 0]]), step)
        self.slate = swapped_SL[best]
        return True

    def _excess_in_windows(self, slates_SL: NDArray[np.int64]) -> NDArray[np.float32]:
        """``[S]``: the excess of each slate in windows that are narrower than it: the other cannot be swapped away."""
        total_S = np.zeros(len(slates_SL), dtype=np.float32)
        for rows, covers_WL in self._narrow:
            held_GSW = self._members_GN[rows][:, slates_SL] @ covers_WL.T
            total_S += np.maximum(held_GSW - self._most_G[rows, None, None], 0.0).sum(axis=(0, 2))
        return total_S

    def _close(self, position: int, step: int) -> None:
        self._closed_until_N[position] = step + 2 + int(self._random.integers(0, 3))
