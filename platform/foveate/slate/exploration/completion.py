"""Which candidates may stand in the next place so that the rest of the slate can still be filled.

Where no choice can block all others (:meth:`~foveate.slate.limits.Limits.never_block`) the limits say that by
themselves. Elsewhere a full slate that begins with what stands already is kept beside: a candidate that can take an
open place of it, or two together with another one, may stand. Only what is not decided so is searched for, and only
what a place could show is asked about. The search is exact but for its bound: it counts steps and not time, for a
replay must come to the same slate on any machine, and a candidate that it did not come to the end of may not stand.

Shapes: ``N`` candidates, ``C`` of them, ``G`` groups, ``L`` places, ``R`` open places, ``W`` windows of one width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import combinations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foveate.slate.exploration.search import Search
from foveate.slate.limits import Limits, Open

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
        self._full = None if limits.never_block(len(slate)) else _FullSlate(limits, slate, self._open.groups_of)

    def may(self) -> NDArray[np.bool_]:
        """``[N]``: which candidates may stand in the next place."""
        open_N = self._open.mask
        if self._full is None:
            return open_N
        may_N = np.zeros_like(open_N)
        may_N[self._full.best(np.flatnonzero(open_N), len(open_N))] = True
        return may_N

    def best(self, order: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """Return the first candidates of an order, ``most`` at most, that may stand in the next place."""
        open_ = order[self._open.mask[order]]
        return open_[:most] if self._full is None else self._full.best(open_, most)

    def first(self, positions: Sequence[int]) -> int | None:
        """Return the first of some candidates that may stand in the next place; None where none may."""
        has, full = self._open.has, self._full
        return next((one for one in positions if has(one) and (full is None or full.can(one))), None)

    def take(self, position: int) -> None:
        """Put a candidate that may stand there into the next place."""
        if self._full is not None:
            self._full.take(position)
        self._open.remove(position)


class _Exchange(Protocol):
    """What can stand in the next place of a full slate in exchange for one item or two."""

    def single(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """``[C]``: which of some open candidates surely can in exchange for one item."""
        ...

    def double(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """``[C]``: which of the others can in exchange for one item, or for two together with another candidate."""
        ...

    def rest_with(self, position: int) -> list[int] | None:
        """Return a rest of the slate that begins with an open candidate, None where no exchange makes one."""
        ...


class _FullSlate:
    """A full slate whose first places stand, and what may take the next one."""

    def __init__(self, limits: Limits, slate: Sequence[int], groups_of: Callable[[int], list[int]]) -> None:
        self.limits, self.groups_of = limits, groups_of
        self.slate = list(slate)
        self.place = 0
        self._narrow = bool((limits.window < len(slate)).any())
        self._exchange: _Exchange | None = None
        self._found: dict[int, list[int]] = {}

    @cached_property
    def arrays(self) -> tuple[Floats, Floats, list[tuple[NDArray[np.int64], Floats]]]:
        """``[G, N]`` members, ``[G, 1]`` how many are allowed, and the windows of each width."""
        members_GN, most_G1 = self.limits.members.astype(np.float32), self.limits.most[:, None].astype(np.float32)
        return members_GN, most_G1, list(self.limits.by_window(len(self.slate)))

    @cached_property
    def _search(self) -> Search:
        return Search(self.limits, len(self.slate))

    def best(self, open_: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """Return the first of some open candidates, ``most`` at most, that leave the rest of the slate to be filled."""
        may_C = self._exchanged().single(open_)
        enough = np.flatnonzero(may_C)[:most]
        if len(enough) == most:
            # What comes later is not asked about.
            open_, may_C = open_[: enough[-1] + 1], may_C[: enough[-1] + 1]
        undecided = np.flatnonzero(~may_C)
        if len(undecided):
            may_C[undecided] = self._exchanged().double(open_[undecided])
            undecided = undecided[~may_C[undecided]]
        if len(undecided):
            unsure = open_[undecided].tolist()
            self._found |= self._search.fill(unsure, self.slate, self.place)
            may_C[undecided] = [position in self._found for position in unsure]
        return open_[may_C][:most]

    def can(self, position: int) -> bool:
        """Say whether one open candidate leaves the rest of the slate to be filled."""
        if position == self.slate[self.place] or position in self._found or self._exchanged().rest_with(position):
            return True
        self._found |= self._search.fill([position], self.slate, self.place)
        return position in self._found

    def take(self, position: int) -> None:
        """Go on with a full slate that has a candidate in the next place, one of those that may stand there."""
        if position != self.slate[self.place]:
            rest = self._found.get(position) or self._exchanged().rest_with(position)
            if rest is None:
                raise AssertionError(f"position {position} cannot stand in place {self.place}: ask 'may' first")
            self.slate[self.place :] = rest
        self._found, self._exchange = {}, None
        self.place += 1

    def _exchanged(self) -> _Exchange:
        if self._exchange is None:
            self._exchange = _InWindows(self) if self._narrow else _InWhole(self)
        return self._exchange


class _InWhole:
    """Exchanges where every group is limited over the whole slate, so that places count alike."""

    def __init__(self, full: _FullSlate) -> None:
        self._groups_of = full.groups_of
        self._slate, self._rest = full.slate, full.slate[full.place :]
        members_GN = full.limits.members
        tight = np.flatnonzero(members_GN[:, full.slate].sum(axis=1) >= full.limits.most)
        self._tight = frozenset(tight.tolist())
        self._crowded_N = members_GN[tight].sum(axis=0)

    @cached_property
    def _free(self) -> list[int]:
        """Candidates that could join the slate in any open place."""
        return sorted(set(np.flatnonzero(self._crowded_N == 0).tolist()).difference(self._slate))

    @cached_property
    def _leaving(self) -> list[tuple[int, frozenset[int]]]:
        """Items of open places with the full groups that they are of, the last one first.

        What comes first is what the policy likes best: it stays.
        """
        return [(one, self._tight.intersection(self._groups_of(one))) for one in reversed(self._rest)]

    def single(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        # Who is of one full group takes the place of another member: above, where it may stand, the group has room.
        return np.asarray(self._crowded_N[positions] < 2)

    def double(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.array([self.rest_with(position) is not None for position in positions.tolist()], dtype=bool)

    def rest_with(self, position: int) -> list[int] | None:
        if position in self._rest:
            return self._with(position, position)
        own = frozenset(self._groups_of(position))
        full = self._tight & own
        for gone, groups in self._leaving:
            if full <= groups:
                return self._with(position, gone)
        joining = next((one for one in self._free if own.isdisjoint(self._groups_of(one))), None)
        if joining is None:
            return None
        members = [(gone, groups) for gone, groups in self._leaving if not full.isdisjoint(groups)]
        for (gone, groups), (other, others) in combinations(members, 2):
            if full <= groups | others:
                return [*self._with(position, gone, other), joining]
        return None

    def _with(self, position: int, *gone: int) -> list[int]:
        return [position, *(one for one in self._rest if one not in gone)]


class _InWindows:
    """Exchanges where windows count places: an item leaves for one that stands in its own place."""

    def __init__(self, full: _FullSlate) -> None:
        slate, place = full.slate, full.place
        self._members_GN, most_G1, windows = full.arrays
        self._head, self._rest = slate[:place], slate[place:]
        own_GL = self._members_GN[:, slate]
        self._own_GR = own_GL[:, place:]
        full_GL = np.zeros_like(own_GL)
        tight_G1, relief_GR = np.zeros_like(most_G1), np.zeros_like(self._own_GR)
        for rows, covers_WL in windows:
            held_GW = own_GL[rows] @ covers_WL.T
            tight_GW = (held_GW >= most_G1[rows]).astype(np.float32)
            # A group that the place's own item is of has room there without it.
            full_GL[rows] = ((tight_GW @ covers_WL) > 0) & (own_GL[rows] == 0)
            around_W = covers_WL[:, place] > 0
            tight_G1[rows] = tight_GW[:, around_W].sum(axis=1, keepdims=True)
            relief_GR[rows] = tight_GW[:, around_W] @ covers_WL[around_W][:, place:]
        full_GR = full_GL[:, place:]
        self._fits_RN = full_GR.T @ self._members_GN == 0
        # Of the windows that are full around the next place, which hold an item: without it they are not.
        self._blocked_GR = ((tight_G1 > self._own_GR * relief_GR) & (self._own_GR[:, :1] == 0)).astype(np.float32)
        self._single_N = self._fits_RN[0].copy()
        self._single_N[self._rest] = False
        self._single_N[self._rest[0]] = True

    def single(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(self._single_N[positions])

    def double(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self._exchanged(positions)[0]

    def rest_with(self, position: int) -> list[int] | None:
        if self._single_N[position]:
            return [position, *self._rest[1:]]
        [can], [gone], [joining] = self._exchanged(np.array([position]))
        return (
            [position, *(int(joining) if at == gone else one for at, one in enumerate(self._rest) if at)]
            if can
            else None
        )

    def _exchanged(
        self, positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
        """Exchange the next place's item, and another one for who shares no group and joins in its own place.

        Returns
        -------
        can, gone, joining
            ``[C]`` bool, and ``[C]`` which open place loses its item, and who joins there.
        """
        own_GC = self._members_GN[:, positions]
        apart_CN = own_GC.T @ self._members_GN == 0
        apart_CN[:, [*self._head, *self._rest[1:]]] = False
        apart_CN[np.arange(len(positions)), positions] = False
        free_CR = own_GC.T @ self._blocked_GR == 0
        free_CR[:, 0] = False
        at_CR = positions[:, None] == np.array(self._rest)
        # Who stands further down leaves that place, and no other.
        free_CR &= at_CR | ~at_CR.any(axis=1, keepdims=True)
        free_CR &= apart_CN.astype(np.float32) @ self._fits_RN.T.astype(np.float32) > 0
        gone_C = free_CR.argmax(axis=1)
        return free_CR.any(axis=1), gone_C, (apart_CN & self._fits_RN[gone_C]).argmax(axis=1)
