"""Whether a slate under two caps can still be filled: a maximum flow from channels to categories.

An item is an edge from its channel to its category, a slate is a set of edges, and a cap bounds the edges at a node.
Source: Ford and Fulkerson, Flows in networks (1962), chapter I, section 8 (augmenting paths).
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence

from foveate.slate.base import Constraints

_UNKNOWN = -1


class Completion:
    """A set of positions that keeps the caps, holds everything locked, and grows as far as the caps allow.

    Parameters
    ----------
    channel, category
        Codes by position, ``-1`` for unknown.
    constraints
        The caps.
    held
        Positions to start from; together they keep the caps.
    """

    def __init__(
        self, channel: Sequence[int], category: Sequence[int], constraints: Constraints, held: Sequence[int]
    ) -> None:
        self._channel, self._category = channel, category
        self._caps = constraints
        self._inside = [False] * len(channel)
        self._locked = [False] * len(channel)
        self._per_channel: Counter[int] = Counter()
        self._per_category: Counter[int] = Counter()
        self._of_channel: defaultdict[int, list[int]] = defaultdict(list)
        self._of_category: defaultdict[int, list[int]] = defaultdict(list)
        for position, (own_channel, own_category) in enumerate(zip(channel, category, strict=True)):
            self._of_channel[own_channel].append(position)
            self._of_category[own_category].append(position)
        for position in held:
            self._put(position)

    def __len__(self) -> int:
        return self._per_channel.total()

    def grow(self, size: int) -> int:
        """Add positions, moving those not locked, until ``size`` are held or no more fit; return how many are held."""
        while len(self) < size and self._augment():
            pass
        return len(self)

    def lock(self, position: int, size: int) -> bool:
        """Hold ``position`` for good if ``size`` can be held with it; otherwise change nothing and return False."""
        before = list(self._inside)
        if not self._inside[position]:
            self._put(position)
        self._locked[position] = True
        if self._make_room(position) and self.grow(size) >= size:
            return True
        self._locked[position] = False
        self._restore(before)
        return False

    def _make_room(self, position: int) -> bool:
        """Drop what ``position`` pushed over a cap; False where all of it is locked."""
        return self._drop_excess(
            self._of_channel[self._channel[position]], self._room_in_channel(self._channel[position])
        ) and self._drop_excess(
            self._of_category[self._category[position]], self._room_in_category(self._category[position])
        )

    def _drop_excess(self, group: Sequence[int], room: float) -> bool:
        if room >= 0:
            return True
        movable = next((p for p in group if self._inside[p] and not self._locked[p]), None)
        if movable is None:
            return False
        self._take_out(movable)
        return True

    def _augment(self) -> bool:
        """Add one position along a shortest augmenting path, if there is one."""
        starts = [channel for channel in self._of_channel if self._room_in_channel(channel) > 0]
        via_channel: dict[int, int | None] = dict.fromkeys(starts)
        via_category: dict[int, int] = {}
        queue = deque(starts)
        while queue:
            for entering in self._of_channel[queue.popleft()]:
                category = self._category[entering]
                if self._inside[entering] or category in via_category:
                    continue
                via_category[category] = entering
                if self._room_in_category(category) > 0:
                    self._flip(entering, via_channel, via_category)
                    return True
                for leaving in self._of_category[category]:
                    channel = self._channel[leaving]
                    if self._inside[leaving] and not self._locked[leaving] and channel not in via_channel:
                        via_channel[channel] = leaving
                        queue.append(channel)
        return False

    def _flip(self, entering: int, via_channel: dict[int, int | None], via_category: dict[int, int]) -> None:
        self._put(entering)
        while (leaving := via_channel[self._channel[entering]]) is not None:
            self._take_out(leaving)
            entering = via_category[self._category[leaving]]
            self._put(entering)

    def _put(self, position: int) -> None:
        self._inside[position] = True
        self._per_channel[self._channel[position]] += 1
        self._per_category[self._category[position]] += 1

    def _take_out(self, position: int) -> None:
        self._inside[position] = False
        self._per_channel[self._channel[position]] -= 1
        self._per_category[self._category[position]] -= 1

    def _restore(self, before: list[bool]) -> None:
        for position, (was, is_now) in enumerate(zip(before, self._inside, strict=True)):
            if was and not is_now:
                self._put(position)
            elif is_now and not was:
                self._take_out(position)

    def _room_in_channel(self, channel: int) -> float:
        return _room(channel, self._per_channel, self._caps.max_per_channel)

    def _room_in_category(self, category: int) -> float:
        return _room(category, self._per_category, self._caps.max_per_category)


def _room(code: int, held: Counter[int], cap: int | None) -> float:
    return float("inf") if cap is None or code == _UNKNOWN else cap - held[code]
