"""Encoded events and histories: the arrays that sources, features and the encoder learn from.

Shapes: ``E`` events, ``U`` viewers, ``N`` positive interactions, ``I`` items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME
from foveate.core.once import Once
from foveate.data.schema import EVENT_KINDS, WATCH

_WATCH, _LIKE = EVENT_KINDS.index(WATCH), EVENT_KINDS.index("like")


@dataclass(frozen=True)
class Events(Once):
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
        return self.once("offsets", self._offsets)

    def _offsets(self) -> NDArray[np.int64]:
        counts = np.bincount(self.user, minlength=self.n_users)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def histories(self, duration: NDArray[np.float32]) -> Histories:
        """Return the positive events alone, each with what the others tell of it.

        The same function makes the histories that are trained on and those that are asked about.

        Parameters
        ----------
        duration
            ``[I]`` seconds of each item, NaN where unknown.
        """
        rows = np.flatnonzero(self.positive)
        kept = self.take(rows)
        facts = _facts(self, rows, duration)
        return Histories(kept.offsets(), kept.item, kept.time, kept.weight, self.n_items, facts)


@dataclass(frozen=True)
class Facts:
    """What is known of each positive interaction beside its item and time, as it stood when the viewer's next one came.

    So nothing in it lies in the future of the interaction that is to be predicted from it.

    Parameters
    ----------
    kinds
        ``[N]`` int8 positions in :data:`foveate.data.schema.EVENT_KINDS`, -1 where unknown.
    watched
        ``[N]`` float32 share of the item's length that the viewer's newest watch of it took, above 1 where they
        watched again; NaN where the seconds or the length are not known.
    liked
        ``[N]`` bool: whether the viewer had said that they like the item.
    """

    kinds: NDArray[np.int8]
    watched: NDArray[np.float32]
    liked: NDArray[np.bool_]

    @classmethod
    def unknown(cls, count: int) -> Facts:
        """Return the facts of ``count`` interactions that nothing is known of."""
        watched = np.full(count, np.nan, dtype=np.float32)
        return cls(np.full(count, -1, dtype=np.int8), watched, np.zeros(count, dtype=np.bool_))

    def take(self, rows: NDArray[np.int64]) -> Facts:
        """Return the facts at ``rows``."""
        return Facts(self.kinds[rows], self.watched[rows], self.liked[rows])


@dataclass(frozen=True)
class Histories:
    """Every viewer's positive interactions, oldest first.

    Parameters
    ----------
    offsets
        ``[U + 1]`` int64; viewer ``u`` owns the rows ``offsets[u]:offsets[u + 1]``.
    items, times, weights
        ``[N]`` int32 item codes, int64 UTC microseconds (``NO_TIME`` where unknown), float32 signal weights.
    facts
        What else is known of each, or None where nothing is.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.int64]
    weights: NDArray[np.float32]
    n_items: int
    facts: Facts | None = None

    @classmethod
    def of(
        cls,
        items: Sequence[NDArray[np.int32]],
        n_items: int,
        times: Sequence[NDArray[np.int64]] | None = None,
    ) -> Histories:
        """Return the histories of viewers of whom nothing is known but items and, where given, times."""
        offsets = np.cumsum([0, *map(len, items)], dtype=np.int64)
        codes = np.concatenate([np.empty(0, dtype=np.int32), *items])
        when = np.full(len(codes), NO_TIME) if times is None else np.concatenate([np.empty(0, np.int64), *times])
        return cls(offsets, codes, when, np.ones(len(codes), dtype=np.float32), n_items)

    @property
    def n_users(self) -> int:
        """How many viewers, those without a row included."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """``[U]``: how many interactions each viewer has."""
        return np.diff(self.offsets)

    def rows(self, user: int) -> slice:
        """Return where the viewer's interactions lie."""
        return slice(int(self.offsets[user]), int(self.offsets[user + 1]))

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        for user in range(self.n_users):
            yield self.items[self.rows(user)]

    def take(self, users: NDArray[np.int64]) -> Histories:
        """Return the histories of ``users`` alone, in the order given."""
        lengths = np.diff(self.offsets)[users]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[users] - offsets[:-1], lengths)
        facts = self.facts and self.facts.take(rows)
        return Histories(offsets, self.items[rows], self.times[rows], self.weights[rows], self.n_items, facts)


def _facts(events: Events, rows: NDArray[np.int64], duration: NDArray[np.float32]) -> Facts:
    """Return what is known of the positive events at ``rows`` before the viewer's next positive event."""
    ends = events.offsets()[1:][events.user[rows]]
    until = np.minimum(np.append(rows[1:], len(events)), ends)
    watch = _newest(events, _WATCH, rows, until)
    seconds = np.where(watch >= 0, events.value[watch], np.nan)
    length = duration[events.item[rows]]
    known = (seconds >= 0) & (length > 0)
    share = np.divide(seconds, length, out=np.full(len(rows), np.nan), where=known)
    return Facts(events.kind[rows], share.astype(np.float32), _newest(events, _LIKE, rows, until) >= 0)


def _newest(events: Events, kind: int, rows: NDArray[np.int64], until: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[N]``: the viewer's newest event of ``kind`` on the item of each of ``rows`` before ``until``, -1 for none."""
    found = np.full(len(rows), -1, dtype=np.int64)
    at = np.flatnonzero(events.kind == kind)
    if not len(at) or not len(rows):
        return found
    pairs, rank = np.unique(_pairs(events, at), return_inverse=True)
    keys = np.sort(rank * (len(events) + 1) + at)
    wanted = _pairs(events, rows)
    mine = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    newest = keys[np.maximum(np.searchsorted(keys, mine * (len(events) + 1) + until) - 1, 0)]
    owner, place = np.divmod(newest, len(events) + 1)
    holds = (pairs[mine] == wanted) & (owner == mine) & (place < until)
    return np.where(holds, place, found)


def _pairs(events: Events, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return events.user[rows].astype(np.int64) * events.n_items + events.item[rows]
