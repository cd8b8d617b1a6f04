"""Rules as arrays: which groups of candidates are limited to how many, in windows of how many places.

Shapes: ``N`` candidates, ``G`` groups, ``L`` places, ``W`` windows of one width within them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from foveate.slate.inputs import SlateInput
from foveate.slate.rules.base import Groups, Rule

WHOLE = np.iinfo(np.int32).max
"""The window of a group that is limited over the whole slate."""
_CLOSED = np.float32(-np.inf)


@dataclass(frozen=True)
class Limits:
    """The groups of several rules, one below the other.

    Parameters
    ----------
    members
        ``[G, N]`` bool.
    most, window
        ``[G]`` int32: at most ``most`` members in any ``window`` places on end.
    owner
        ``[G]`` int32: which rule a group comes from.
    """

    members: NDArray[np.bool_]
    most: NDArray[np.int32]
    window: NDArray[np.int32]
    owner: NDArray[np.int32]

    @classmethod
    def of(cls, rules: Sequence[Rule], ranked: SlateInput, slots: int) -> Limits:
        """Ask each rule for its groups in a slate of ``slots``."""
        return cls.stack([rule.groups(ranked, slots) for rule in rules], len(ranked))

    @classmethod
    def stack(cls, groups: Sequence[Groups], n: int) -> Limits:
        """Put groups over the same ``n`` candidates together."""
        counts = [len(one.members) for one in groups]

        def column(values: Sequence[int]) -> NDArray[np.int32]:
            return np.repeat(np.array(values, dtype=np.int32), counts)

        return cls(
            members=np.concatenate([np.zeros((0, n), dtype=bool), *(one.members for one in groups)]),
            most=column([one.most for one in groups]),
            window=column([WHOLE if one.window is None else one.window for one in groups]),
            owner=column(range(len(groups))),
        )

    def may_fill(self, slots: int) -> bool:
        """Say whether ``slots`` can be filled under each rule by itself: if not, then surely not under all."""
        n = self.members.shape[1]
        full, rest = np.divmod(slots, self.window)
        holds_G = np.minimum(self.members.sum(axis=1), full * self.most + np.minimum(rest, self.most))
        held = np.bincount(self.owner, holds_G) if len(self.owner) else np.zeros(0)
        owners = [self.owner == owner for owner in range(len(held))]
        free = [n - int(self.members[own].any(axis=0).sum()) for own in owners]
        return slots <= n and all(slots <= f + h for f, h in zip(free, held, strict=True))

    def never_block(self, slots: int) -> bool:
        """Say that, whatever stands in some of ``slots``, there is a candidate left for the next one.

        It counts the largest groups that so few items can fill, rule by rule; False says nothing.
        """
        left: int = self.members.shape[1] - (slots - 1)
        size_G: list[int] = np.count_nonzero(self.members, axis=1).tolist()
        # The groups of a rule follow each other, and have one limit and one window.
        for first, end in pairwise(accumulate(np.bincount(self.owner).tolist(), initial=0)):
            if first == end:
                continue
            members_GN, allowed = self.members[first:end], int(self.most[first])
            if allowed < 1:
                left -= int(members_GN.any(axis=0).sum())
                continue
            # What stands further back than a window fills no group any more.
            standing = min(slots, int(self.window[first])) - 1
            full = standing * int(np.count_nonzero(members_GN, axis=0).max(initial=0)) // allowed
            left -= sum(sorted(size_G[first:end], reverse=True)[:full])
        return left >= 1

    def by_window(self, slots: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield the groups of each width, and ``[W, L]`` which of ``slots`` each of its windows covers."""
        width_G = np.minimum(self.window, slots)
        for width in np.unique(width_G):
            starts, at = np.arange(slots - width + 1)[:, None], np.arange(slots)[None, :]
            covers_WL = (at >= starts) & (at < starts + width)
            yield np.flatnonzero(width_G == width), covers_WL.astype(np.float32)

    # As in repair.py.
    @np.errstate(invalid="ignore")
    def broken_by(self, chosen: Sequence[int] | NDArray[np.int64]) -> bool:
        """Say whether a slate holds more of a group than it may."""
        if not len(chosen):
            return False
        shown_GL = self.members[:, np.asarray(chosen)].astype(np.float32)
        return any(
            bool((shown_GL[rows] @ covers_WL.T > self.most[rows, None]).any())
            for rows, covers_WL in self.by_window(len(chosen))
        )


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
