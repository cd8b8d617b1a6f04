"""A search that fills the rest of a slate by trying one candidate after the other.

Candidates of the same groups are tried once. Sets of candidates are numbers, whose bit ``i`` is candidate ``i``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveate.slate.limits import Limits

STEPS: Final = 100
"""Most steps of the search for one candidate."""
STEPS_OF_SLATE: Final = 1000
"""Most steps of all searches for one slate: some milliseconds."""


class Search:
    """Fills slates of one length under limits.

    Parameters
    ----------
    limits
        What they keep.
    places
        How long they are.
    """

    def __init__(self, limits: Limits, places: int) -> None:
        n, self._places = limits.members.shape[1], places
        # Candidates are numbered by what is tried first: what is in the fewest groups.
        self._order: list[int] = np.argsort(limits.members.sum(axis=0), kind="stable").tolist()
        self._number_of = {position: number for number, position in enumerate(self._order)}
        members_GN = limits.members[:, self._order]
        number_M, group_M = np.nonzero(members_GN.T)
        parts = np.split(group_M, np.searchsorted(number_M, np.arange(1, n)))
        self._groups: list[list[int]] = [part.tolist() for part in parts]
        self._members: list[int] = [_bits(own_N) for own_N in members_GN]
        self._most: list[int] = limits.most.tolist()
        self._window: list[int] = limits.window.tolist()
        self._widths = sorted({width for width in self._window if width < places})
        keys = [own_G.tobytes() for own_G in np.ascontiguousarray(members_GN.T)]
        kinds: dict[bytes, int] = {}
        for number, key in enumerate(keys):
            kinds[key] = kinds.get(key, 0) | 1 << number
        self._kind: list[int] = [kinds[key] for key in keys]
        owners = [np.flatnonzero(limits.owner == owner) for owner in np.unique(limits.owner)]
        self._rules = [(groups.tolist(), _bits(np.asarray(members_GN[groups].any(axis=0)))) for groups in owners]
        self._all: int = (1 << n) - 1
        self._usual: list[int] = []
        self._count = [0] * len(self._most)
        self._full = {group for group, most in enumerate(self._most) if most < 1}
        self._shown: list[int] = []
        self._steps, self._left = 0, STEPS_OF_SLATE

    def fill(self, positions: Sequence[int], slate: Sequence[int], place: int) -> dict[int, list[int]]:
        """Return, for each candidate that can stand in ``place``, a rest of the slate that begins with it.

        Parameters
        ----------
        positions
            Candidates that the limits allow there.
        slate
            A full slate; what stands before ``place`` stays, what stands there and below is tried first.
        """
        self._usual = [self._number_of[position] for position in slate]
        for number in self._usual[:place]:
            self._push(number)
        found = dict(self._each(positions, place))
        while self._shown:
            self._pop()
        return {position: [self._order[number] for number in rest] for position, rest in found.items()}

    def _each(self, positions: Sequence[int], place: int) -> list[tuple[int, list[int]]]:
        found = []
        by_kind: dict[int, list[int] | None] = {}
        for position in positions:
            number = self._number_of[position]
            kind = self._kind[number]
            if kind not in by_kind:
                self._steps = given = min(STEPS, self._left)
                self._push(number)
                by_kind[kind] = self._shown[place:] if self._extend(self._all) else None
                self._left -= given - max(0, self._steps)
                while len(self._shown) > place:
                    self._pop()
            rest = by_kind[kind]
            if rest is not None:
                # Another one of the same groups changes places with the first.
                other = {number: rest[0], rest[0]: number}
                found.append((position, [other.get(one, one) for one in rest]))
        return found

    def _extend(self, among: int) -> bool:
        """Fill the slate with candidates of a set; where order is all one, what was tried stays out below."""
        place = len(self._shown)
        if place == self._places:
            return True
        self._steps -= 1
        rest = self._open() & among
        is_first = True
        while rest and self._steps >= 0:
            # What was tried here may stand further down where windows count places.
            left = self._unshown() if self._widths else rest
            needed = self._places - place
            # The narrower bound costs more than going down once.
            if left.bit_count() < needed or (not is_first and self._room(left) < needed):
                return False
            usual = 1 << self._usual[place]
            first = usual if rest & usual else rest & -rest
            self._push(first.bit_length() - 1)
            if self._extend(self._all if self._widths else rest):
                return True
            rest &= ~self._kind[self._shown[-1]]
            self._pop()
            is_first = False
        return False

    def _unshown(self) -> int:
        shown = 0
        for number in self._shown:
            shown |= 1 << number
        return self._all & ~shown

    def _open(self) -> int:
        shut: int = 0
        for group in self._full:
            shut |= self._members[group]
        return self._unshown() & ~shut

    def _room(self, among: int) -> int:
        """Return how many of a set could stand in what is left, by the rule that leaves room for the fewest."""
        room, left = among.bit_count(), self._places - len(self._shown)
        for groups, members in self._rules:
            fits = (among & ~members).bit_count()
            for group in groups:
                most, width = self._most[group], self._window[group]
                # Windows are counted as if nothing stood before.
                most = most - self._count[group] if width >= self._places else most * (left // width + 1)
                fits += min(most, (among & self._members[group]).bit_count())
            room = min(room, fits)
        return room

    def _push(self, number: int) -> None:
        self._shown.append(number)
        self._add(self._groups[number], 1)
        self._slide(-1)

    def _pop(self) -> None:
        self._slide(1)
        self._add(self._groups[self._shown.pop()], -1)

    def _slide(self, change: int) -> None:
        """Count out, or in again, the item that the window which ends with the next place does not hold any more."""
        for width in self._widths:
            gone = len(self._shown) - width
            if gone >= 0:
                own = self._groups[self._shown[gone]]
                self._add([group for group in own if self._window[group] == width], change)

    def _add(self, groups: Sequence[int], change: int) -> None:
        for group in groups:
            self._count[group] += change
            if self._count[group] >= self._most[group]:
                self._full.add(group)
            else:
                self._full.discard(group)


def _bits(mask: NDArray[np.bool_]) -> int:
    """Return a mask as a number whose bit ``i`` is its element ``i``."""
    return int.from_bytes(np.packbits(mask, bitorder="little").tobytes(), "little")
