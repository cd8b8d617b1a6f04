"""The greedy choice under limits: the worthiest candidate that is still open, place after place.

Shapes: ``N`` candidates.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from foveate.slate.inputs import Worth
from foveate.slate.limits import WHOLE, Limits

_CLOSED = np.float32(-np.inf)
_SUNK = np.float32(np.finfo(np.float32).min)
"""The worth of a candidate whose relevance is not finite: below every finite one, above a closed one."""


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


class Open:
    """Which candidates may stand in the next place, by what stands before it.

    The arrays over all candidates are brought up to date when they are asked for: of some places only single
    candidates are asked about.
    """

    def __init__(self, limits: Limits, n: int, among: NDArray[np.int64] | None = None) -> None:
        self._limits = limits
        self._gone_N = np.zeros(n, dtype=bool) if among is None else np.ones(n, dtype=bool)
        if among is not None:
            self._gone_N[among] = False
        # How many reasons there are against each candidate.
        self._against_N = self._gone_N.astype(np.int32)
        self._recent_G = [0] * len(limits.most)
        self._most_G, self._window_G = limits.most.tolist(), limits.window.tolist()
        self._full = set(np.flatnonzero(limits.most <= 0).tolist())
        # Those whose members the arrays have as closed.
        self._counted: set[int] = set()
        self._groups: dict[int, list[int]] = {}
        self._leaving: defaultdict[int, list[int]] = defaultdict(list)
        self._place = 0
        self._bar_N: NDArray[np.float32] | None = None

    def best(self, worth_N: NDArray[np.float32]) -> int | None:
        """Return the worthiest, None where none may."""
        self._count()
        if self._bar_N is None:
            self._bar_N = np.where(self._against_N == 0, np.float32(0.0), _CLOSED)
        position = int((worth_N + self._bar_N).argmax())
        return position if self._against_N[position] == 0 else None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """``[N]``: which may."""
        self._count()
        return np.asarray(self._against_N == 0)

    def has(self, position: int) -> bool:
        """Say whether one may."""
        return not self._gone_N[position] and self._full.isdisjoint(self.groups_of(position))

    def remove(self, position: int) -> None:
        """Put a candidate into the next place."""
        self._gone_N[position] = True
        self._against_N[position] += 1
        if self._bar_N is not None:
            self._bar_N[position] = _CLOSED
        for group in self.groups_of(position):
            self._recent_G[group] += 1
            if self._recent_G[group] == self._most_G[group]:
                self._full.add(group)
            if self._window_G[group] < WHOLE:
                self._leaving[self._place + self._window_G[group]].append(group)
        self._place += 1
        for group in self._leaving.pop(self._place, ()):
            if self._recent_G[group] == self._most_G[group]:
                self._full.discard(group)
            self._recent_G[group] -= 1

    def groups_of(self, position: int) -> list[int]:
        """Return which groups a candidate is of."""
        groups = self._groups.get(position)
        if groups is None:
            groups = self._limits.members[:, position].nonzero()[0].tolist() if self._most_G else []
            self._groups[position] = groups
        return groups

    def _count(self) -> None:
        """Bring the arrays up to date with the groups that are full."""
        if self._full == self._counted:
            return
        for group in self._full - self._counted:
            self._against_N += self._limits.members[group]
        for group in self._counted - self._full:
            self._against_N -= self._limits.members[group]
        self._counted = self._full.copy()
        self._bar_N = None
