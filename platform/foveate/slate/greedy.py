"""The greedy choice under limits: the worthiest candidate that is still open, place after place.

Shapes: ``N`` candidates.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from foveate.slate.inputs import Worth
from foveate.slate.limits import Limits

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
    still = _Open(limits, len(sunk), among)
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


class _Open:
    """Which candidates may stand in the next place."""

    def __init__(self, limits: Limits, n: int, among: NDArray[np.int64] | None) -> None:
        self._limits = limits
        # How many reasons there are against each candidate.
        self._against_N = np.zeros(n, dtype=np.int32)
        if among is not None:
            self._against_N += 1
            self._against_N[among] -= 1
        self._recent_G = [0] * len(limits.most)
        self._most_G, self._window_G = limits.most.tolist(), limits.window.tolist()
        for group in np.flatnonzero(limits.most <= 0):
            self._against_N += limits.members[group]
        self._leaving: defaultdict[int, list[int]] = defaultdict(list)
        self._place = 0
        self._bar_N = np.where(self._against_N == 0, np.float32(0.0), _CLOSED)

    def best(self, worth_N: NDArray[np.float32]) -> int | None:
        position = int((worth_N + self._bar_N).argmax())
        return position if self._against_N[position] == 0 else None

    def remove(self, position: int) -> None:
        self._against_N[position] += 1
        self._bar_N[position] = _CLOSED
        turned = False
        for group in self._limits.members[:, position].nonzero()[0].tolist() if self._most_G else ():
            self._recent_G[group] += 1
            if self._recent_G[group] == self._most_G[group]:
                self._against_N += self._limits.members[group]
                turned = True
            self._leaving[self._place + self._window_G[group]].append(group)
        self._place += 1
        for group in self._leaving.pop(self._place, ()):
            if self._recent_G[group] == self._most_G[group]:
                self._against_N -= self._limits.members[group]
                turned = True
            self._recent_G[group] -= 1
        if turned:
            self._bar_N = np.where(self._against_N == 0, np.float32(0.0), _CLOSED)
