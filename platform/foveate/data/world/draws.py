"""Weighted random draws for many viewers at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TRIES = 8
"""Draws that may fail before the few items that are left are listed."""


class GroupedDraw:
    """Draws items of a group by their weight on a day.

    Parameters
    ----------
    weights
        ``[D, I]`` weights by day, at least 0.
    group
        ``[I]`` the group of each item, such as its channel.
    n_groups
        Number of groups.
    """

    def __init__(self, weights: NDArray[np.float64], group: NDArray[np.int64], n_groups: int) -> None:
        days, n_items = weights.shape
        self._items = np.argsort(group, kind="stable")
        self._ends = np.cumsum(np.bincount(group, minlength=n_groups))
        self._n_items = n_items
        # One running sum over all days and items: a draw is one search, whichever day and group it is for.
        self._edges = np.concatenate([[0.0], np.cumsum(weights[:, self._items].ravel())])
        self._days = days

    def __call__(self, day: NDArray[np.int64], group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return one item for each ``(day, group)``, ``-1`` where the group has nothing to offer that day.

        ``day`` and ``group`` are of one shape, or broadcast to one; each pair is a draw of its own.
        """
        base = day * self._n_items
        last = self._ends[group]
        first = np.where(group > 0, self._ends[group - 1], 0)
        low, high = self._edges[base + first], self._edges[base + last]
        drawn = low + rng.random(low.shape) * (high - low)
        place = np.searchsorted(self._edges, drawn, side="right") - 1 - base
        # The last groups may be empty: their first place lies behind the last item.
        place = np.minimum(np.clip(place, first, np.maximum(last - 1, first)), len(self._items) - 1)
        return np.where(high > low, self._items[place], -1)


def draw_columns(weights: NDArray[np.float32], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``[B, n]`` columns drawn by the rows of ``weights`` ``[B, C]``."""
    cumulative = np.cumsum(weights, axis=1)
    drawn = rng.random((len(weights), n), dtype=np.float32) * cumulative[:, -1:]
    return np.asarray((drawn[:, :, None] > cumulative[:, None, :-1]).sum(axis=2))


@dataclass(frozen=True)
class Memory:
    """What the viewers of a crowd have met: ``seen`` ``[B, I]`` watched, ``tired`` ``[B, I]`` shown how often.

    ``n_seen`` ``[B]`` counts the watched.
    """

    seen: NDArray[np.bool_]
    tired: NDArray[np.uint8]
    n_seen: NDArray[np.int64]

    @classmethod
    def blank(cls, viewers: int, items: int) -> Memory:
        """Return the memory of viewers who have met nothing yet."""
        shape = (viewers, items)
        return cls(np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.uint8), np.zeros(viewers, dtype=np.int64))

    def show(self, rows: NDArray[np.int64], items: NDArray[np.int64]) -> None:
        """Note that each of ``items`` was shown to the viewer of its row."""
        self.tired[rows, items] = np.minimum(self.tired[rows, items], 200) + 1

    def watch(self, rows: NDArray[np.int64], items: NDArray[np.int64]) -> None:
        """Note that each of ``items``, none seen before, was watched by the viewer of its row."""
        self.seen[rows, items] = True
        np.add.at(self.n_seen, rows, 1)


def draw_unseen(
    memory: Memory,
    rows: NDArray[np.int64],
    by_availability: NDArray[np.int64],
    *,
    n_available: NDArray[np.int64],
    prefix: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw for each viewer one of the available items that it has not seen and its slate does not hold yet.

    Every such item is as likely: the chance is one over their number.

    Parameters
    ----------
    memory, rows
        What viewers have seen, and the ``[N]`` rows of those who are drawn for.
    by_availability
        ``[I]`` item codes by the time from which they can be watched.
    n_available
        ``[N]`` how many items, from the front of ``by_availability``, can be watched; all of the seen are among them.
    prefix
        ``[N, S]`` the slate so far, ``-1`` where a slot is empty; none of them seen.

    Returns
    -------
    items, propensity
        ``[N]`` the item and the chance that it had; ``-1`` and NaN where nothing was left.
    """
    items = np.full(len(rows), -1, dtype=np.int64)
    count = n_available - memory.n_seen[rows] - (prefix >= 0).sum(axis=1)
    waiting = np.flatnonzero(count > 0)
    for _ in range(_TRIES):
        pick = by_availability[(rng.random(len(waiting)) * n_available[waiting]).astype(np.int64)]
        good = ~memory.seen[rows[waiting], pick] & ~(prefix[waiting] == pick[:, None]).any(axis=1)
        items[waiting[good]] = pick[good]
        waiting = waiting[~good]
    for at in waiting:
        open_ = by_availability[: n_available[at]]
        left = open_[~memory.seen[rows[at], open_] & ~np.isin(open_, prefix[at])]
        items[at] = left[int(rng.random() * len(left))]
    return items, np.where(count > 0, 1.0 / np.maximum(count, 1), np.nan)
