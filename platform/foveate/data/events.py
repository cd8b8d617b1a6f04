"""Encoded events and histories: the arrays that sources, features and the encoder learn from.

Shapes: ``E`` events, ``U`` viewers, ``N`` positive interactions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Events:
    """Every event, sorted by viewer and, for one viewer, oldest first.

    All arrays are ``[E]``. ``kind`` is a position in :data:`foveate.data.schema.EVENT_KINDS`; ``time`` is UTC
    microseconds or ``NO_TIME``; ``weight`` is the signal's weight; ``positive`` marks the events that count as
    interest.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    kind: NDArray[np.int8]
    value: NDArray[np.float32]
    weight: NDArray[np.float32]
    positive: NDArray[np.bool_]
    time: NDArray[np.int64]
    n_users: int
    n_items: int

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Events:
        """Return the events at ``rows`` (a mask, or positions in the order wanted)."""
        return Events(
            user=self.user[rows],
            item=self.item[rows],
            kind=self.kind[rows],
            value=self.value[rows],
            weight=self.weight[rows],
            positive=self.positive[rows],
            time=self.time[rows],
            n_users=self.n_users,
            n_items=self.n_items,
        )

    def offsets(self) -> NDArray[np.int64]:
        """``[U + 1]``: the events of viewer ``u`` are ``offsets[u]:offsets[u + 1]``."""
        counts = np.bincount(self.user, minlength=self.n_users)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def histories(self) -> Histories:
        """Return the positive events alone."""
        kept = self.take(self.positive)
        return Histories(kept.offsets(), kept.item, kept.time, kept.weight, self.n_items)


@dataclass(frozen=True)
class Histories:
    """Every viewer's positive interactions, oldest first.

    Parameters
    ----------
    offsets
        ``[U + 1]`` int64; viewer ``u`` owns the rows ``offsets[u]:offsets[u + 1]``.
    items, times, weights
        ``[N]`` int32 item codes, int64 UTC microseconds (``NO_TIME`` where unknown), float32 signal weights.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.int64]
    weights: NDArray[np.float32]
    n_items: int

    @property
    def n_users(self) -> int:
        """How many viewers, those without a row included."""
        return len(self.offsets) - 1

    def rows(self, user: int) -> slice:
        """Return where the viewer's interactions lie."""
        return slice(int(self.offsets[user]), int(self.offsets[user + 1]))

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        for user in range(self.n_users):
            yield self.items[self.rows(user)]
