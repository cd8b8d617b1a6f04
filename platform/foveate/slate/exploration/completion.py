"""Which candidates may stand in the next place so that the rest of the slate can still be filled.

Where no choice can block all others (:meth:`~foveate.slate.limits.Limits.never_block`) the limits say that by
themselves. Elsewhere a full slate that begins with what stands already is kept beside: a candidate that can take an
open place of it, or two together with another one, may stand. Only what is not decided so is searched for. The search
is exact but for its bound: it counts steps and not time, for a replay must come to the same slate on any machine, and a
candidate that it did not come to the end of may not stand.

Shapes: ``N`` candidates, ``C`` of them, ``G`` groups, ``L`` places, ``R`` open places, ``P`` pairs of open places,
``W`` windows of one width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from foveate.slate.exploration.search import Search
from foveate.slate.greedy import Open
from foveate.slate.limits import Limits

Floats = NDArray[np.float32]


class Standing:
    """The places of a slate, filled one after the other.

    Parameters
    ----------
    limits
        What the slate keeps.
    slate
        Positions of a full slate that keeps it.
    """

    def __init__(self, limits: Limits, slate: Sequence[int]) -> None:
        self._open = Open(limits, limits.members.shape[1])
        self._full = None if limits.never_block(len(slate)) else _FullSlate(limits, slate)
        self._may: NDArray[np.bool_] | None = None

    def may(self) -> NDArray[np.bool_]:
        """``[N]``: which candidates may stand in the next place."""
        if self._may is None:
            self._may = self._open.mask if self._full is None else self._full.may(self._open.mask)
        return self._may

    def first(self, positions: Sequence[int]) -> int | None:
        """Return the first of some candidates that may stand in the next place; None where none may."""
        open_N = self._open.mask
        return next((one for one in positions if open_N[one] and (self._full is None or self._full.can(one))), None)

    def take(self, position: int) -> None:
        """Put a candidate that may stand there into the next place."""
        if self._full is not None:
            self._full.take(position)
        self._open.remove(position)
        self._may = None


class _FullSlate:
    """A full slate whose first places stand, and what may take the next one."""

    def __init__(self, limits: Limits, slate: Sequence[int]) -> None:
        self._members_GN: Floats = limits.members.astype(np.float32)
        self._most_G1 = limits.most[:, None].astype(np.float32)
        self._windows = list(limits.by_window(len(slate)))
        self._narrow = any(len(covers_WL) > 1 for _, covers_WL in self._windows)
        self._limits = limits
        self._slate = list(slate)
        self._place = 0
        self._exchange: _Exchange | None = None
        self._found: dict[int, list[int]] = {}

    @cached_property
    def _search(self) -> Search:
        return Search(self._limits, len(self._slate))

    def may(self, open_N: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``[N]``: which of the open candidates leave the rest of the slate to be filled."""
        exchange = self._exchanged()
        may_N = open_N & exchange.single_N
        undecided = np.flatnonzero(open_N & ~may_N)
        if len(undecided):
            may_N[undecided] = exchange.double(undecided)[0]
            undecided = undecided[~may_N[undecided]]
        if len(undecided):
            self._found |= self._search.fill(undecided.tolist(), self._slate, self._place)
            may_N[list(self._found)] = True
        return may_N

    def can(self, position: int) -> bool:
        """Say whether one open candidate leaves the rest of the slate to be filled."""
        if position == self._slate[self._place] or position in self._found or self._exchanged().rest_with(position):
            return True
        self._found |= self._search.fill([position], self._slate, self._place)
        return position in self._found

    def take(self, position: int) -> None:
        """Go on with a full slate that has a candidate in the next place, one of those that may stand there."""
        if position != self._slate[self._place]:
            rest = self._found.get(position) or self._exchanged().rest_with(position)
            if rest is None:
                raise AssertionError(f"position {position} cannot stand in place {self._place}: ask 'may' first")
            self._slate[self._place :] = rest
        self._found, self._exchange = {}, None
        self._place += 1

    def _exchanged(self) -> _Exchange:
        if self._exchange is None:
            self._exchange = _Exchange(self)
        return self._exchange


class _Exchange:
    """What can stand in the next place of a full slate in exchange for one item or two."""

    def __init__(self, full: _FullSlate) -> None:
        self._members_GN, self._narrow = full._members_GN, full._narrow
        self._head, self._rest = full._slate[: full._place], full._slate[full._place :]
        slate, place = full._slate, full._place
        own_GL = self._members_GN[:, slate]
        self._own_GR = own_GL[:, place:]
        full_GL = np.zeros_like(own_GL)
        tight_G1, relief_GR = np.zeros_like(full._most_G1), np.zeros_like(self._own_GR)
        for rows, covers_WL in full._windows:
            held_GW = own_GL[rows] @ covers_WL.T
            tight_GW = (held_GW >= full._most_G1[rows]).astype(np.float32)
            # A group that the place's own item is of has room there without it.
            full_GL[rows] = ((tight_GW @ covers_WL) > 0) & (own_GL[rows] == 0)
            around_W = covers_WL[:, place] > 0
            tight_G1[rows] = tight_GW[:, around_W].sum(axis=1, keepdims=True)
            relief_GR[rows] = tight_GW[:, around_W] @ covers_WL[around_W][:, place:]
        full_GR = full_GL[:, place:]
        self._fits_RN = full_GR.T @ self._members_GN == 0
        # Of the windows that are full around the next place, which hold an item: without it they are not.
        self._blocked_GR = ((tight_G1 > self._own_GR * relief_GR) & (self._own_GR[:, :1] == 0)).astype(np.float32)
        self._tight_G = (tight_G1[:, 0] > 0).astype(np.float32)

    @cached_property
    def single_N(self) -> NDArray[np.bool_]:
        """``[N]``: which can in exchange for one item; where windows count places, for the one that stands there."""
        fits_N = self._fits_RN[0].copy() if self._narrow else self._fits_RN.any(axis=0)
        fits_N[self._rest] = not self._narrow
        fits_N[self._rest[0]] = True
        return np.asarray(fits_N)

    def double(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
        """``[C]``: which of some candidates can in exchange for two items, together with one that shares no group.

        Returns
        -------
        can, gone, joining
            ``[C]`` bool, ``[C, 2]`` which open places lose their items, and ``[C]`` who joins.
        """
        own_GC = self._members_GN[:, positions]
        apart_CN = own_GC.T @ self._members_GN == 0
        apart_CN[:, [*self._head, *self._rest[1:]]] = False
        apart_CN[np.arange(len(positions)), positions] = False
        if self._narrow:
            return self._double_in_place(positions, own_GC, apart_CN)
        first_P, second_P = np.triu_indices(len(self._rest), 1)
        apart_CN[:, self._rest] = False
        apart_CN &= self._tight_G @ self._members_GN == 0
        left_PG = 1.0 - np.maximum(self._own_GR[:, first_P], self._own_GR[:, second_P]).T
        free_CP = (left_PG * self._tight_G) @ own_GC == 0
        can_C = apart_CN.any(axis=1) & free_CP.any(axis=0)
        pair_C = free_CP.argmax(axis=0) if len(first_P) else np.zeros(len(positions), dtype=np.int64)
        gone_C2 = (
            np.stack([first_P[pair_C], second_P[pair_C]], axis=1) if len(first_P) else np.zeros((len(positions), 2))
        )
        return can_C, gone_C2.astype(np.int64), apart_CN.argmax(axis=1)

    def rest_with(self, position: int) -> list[int] | None:
        """Return a rest of the slate that begins with a candidate, None where no exchange makes one."""
        if not self._narrow and position in self._rest:
            return [position, *(one for one in self._rest if one != position)]
        if self.single_N[position]:
            # The last of the places that it can take: what comes first is what the policy likes best.
            gone = 0 if self._narrow else int(np.flatnonzero(self._fits_RN[:, position])[-1])
            return [position, *(one for at, one in enumerate(self._rest) if at != gone)]
        [can], [gone_2], [joining] = self.double(np.array([position]))
        if not can:
            return None
        if self._narrow:
            return [position, *(int(joining) if at == gone_2[1] else one for at, one in enumerate(self._rest) if at)]
        return [position, *(one for at, one in enumerate(self._rest) if at not in gone_2), int(joining)]

    def _double_in_place(
        self, positions: NDArray[np.int64], own_GC: Floats, apart_CN: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
        """Exchange the next place's item, and another one for who joins in its own place."""
        free_CR = own_GC.T @ self._blocked_GR == 0
        free_CR[:, 0] = False
        at_CR = positions[:, None] == np.array(self._rest)
        # Who stands further down leaves that place, and no other.
        free_CR &= at_CR | ~at_CR.any(axis=1, keepdims=True)
        free_CR &= apart_CN.astype(np.float32) @ self._fits_RN.T.astype(np.float32) > 0
        gone_C = free_CR.argmax(axis=1)
        joining_C = (apart_CN & self._fits_RN[gone_C]).argmax(axis=1)
        return free_CR.any(axis=1), np.stack([np.zeros_like(gone_C), gone_C], axis=1), joining_C
