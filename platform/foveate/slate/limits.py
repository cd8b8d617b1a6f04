"""Rules as arrays: which groups of candidates are limited to how many, in windows of how many places.

Shapes: ``N`` candidates, ``G`` groups, ``L`` places, ``W`` windows of one width within them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from foveate.slate.inputs import SlateInput
from foveate.slate.rules.base import Groups, Rule

WHOLE = np.iinfo(np.int32).max
"""The window of a group that is limited over the whole slate."""


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
