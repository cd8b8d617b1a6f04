"""The vectorised past: what the ``as_of`` of the features share.

Shapes: ``R`` rows, ``G`` moments (rows that lie together and share viewer, position and now), ``K`` past events of
all moments, ``E`` events, ``I`` items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from foveate.core.messages import NO_TIME
from foveate.core.once import Once
from foveate.data.events import Events
from foveate.features.core import FeatureRows, fold_order

MICROSECONDS_PER_HOUR = 3_600_000_000
UNKNOWN_VALUE = -1.0
"""What a feature answers where nothing is known."""

T = TypeVar("T", bound=np.generic)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments(Once):
    """The distinct moments of some rows: ``of_row`` is ``[R]``, the rest ``[G]``."""

    of_row: Ints
    user: NDArray[np.int32]
    position: Ints
    now: Ints

    def __len__(self) -> int:
        return len(self.user)


def moments_of(rows: FeatureRows) -> Moments:
    """Group neighbouring rows of one viewer, position and now."""
    return rows.once("moments", lambda: _moments_of(rows))


def _moments_of(rows: FeatureRows) -> Moments:
    changes = (np.diff(rows.user) != 0) | (np.diff(rows.position) != 0) | (np.diff(rows.now) != 0)
    first = np.flatnonzero(np.concatenate([[len(rows) > 0], changes])) if len(rows) else np.empty(0, np.int64)
    of_row = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(rows))))
    return Moments(of_row.astype(np.int64), rows.user[first], rows.position[first], rows.now[first])


@dataclass(frozen=True)
class Recent:
    """The last events before each moment, oldest first within it; arrays are ``[K]``.

    ``event`` is a position in the log, ``moment`` the moment it belongs to and ``age`` how many events of the viewer
    lie between it and the moment.
    """

    event: Ints
    moment: Ints
    age: Ints

    def where(self, keep: NDArray[np.bool_]) -> Recent:
        """Keep the events that the mask ``[K]`` marks."""
        return Recent(self.event[keep], self.moment[keep], self.age[keep])


def recent(events: Events, moments: Moments, last: int | None = None) -> Recent:
    """Return the up to ``last`` newest events before each moment, all of them for None."""
    return moments.once_beside(events, ("recent", last), lambda: _recent(events, moments, last))


def _recent(events: Events, moments: Moments, last: int | None) -> Recent:
    start = events.offsets()[moments.user]
    end = start + moments.position
    begin = start if last is None else np.maximum(start, end - last)
    lengths = end - begin
    moment = np.repeat(np.arange(len(moments)), lengths)
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    event = begin[moment] + within
    return Recent(event.astype(np.int64), moment.astype(np.int64), (end[moment] - 1 - event).astype(np.int64))


def sums(groups: Ints, size: int, weights: Floats | NDArray[np.bool_] | None = None) -> Floats:
    """Sum ``weights`` (ones for None) by group: ``[size]``."""
    return np.bincount(groups, weights=weights, minlength=size).astype(np.float64)


def ratio(numerator: Floats, denominator: Floats, otherwise: float = 0.0) -> Floats:
    """Divide, and answer ``otherwise`` where the denominator is 0."""
    out = np.full(np.broadcast(numerator, denominator).shape, otherwise)
    quotients: Floats = np.divide(numerator, denominator, out=out, where=denominator != 0)
    return quotients


class Tokens:
    """What items are made of (a channel, categories, tags): item ``i`` owns ``flat[indptr[i]:indptr[i + 1]]``."""

    def __init__(self, indptr: Ints, flat: Ints, size: int) -> None:
        self.indptr, self.flat, self.size = indptr, flat, size

    @classmethod
    def of_codes(cls, codes: NDArray[np.int32], size: int) -> Tokens:
        """One token an item, none where the code is negative."""
        counts = (codes >= 0).astype(np.int64)
        return cls(np.concatenate([[0], np.cumsum(counts)]), codes[codes >= 0].astype(np.int64), size)

    @classmethod
    def of_matrix(cls, matrix: sparse.csr_matrix) -> Tokens:
        """Take the columns that an ``[I, T]`` membership matrix marks."""
        return cls(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.shape[1])

    @classmethod
    def concat(cls, parts: Sequence[Tokens]) -> Tokens:
        """Take what items are made of in several ways at once; each way's tokens come after those before it."""
        items = np.arange(len(parts[0].indptr) - 1, dtype=np.int32)
        first = np.cumsum([0, *(part.size for part in parts)])
        pairs = [part.explode(items) for part in parts]
        owner = np.concatenate([own for own, _ in pairs])
        token = np.concatenate([flat + begin for (_, flat), begin in zip(pairs, first, strict=False)])
        counts = np.bincount(owner, minlength=len(items))
        return cls(np.concatenate([[0], np.cumsum(counts)]), token[np.argsort(owner, kind="stable")], int(first[-1]))

    def of(self, item: int) -> Ints:
        """Return the tokens of one item."""
        return self.flat[self.indptr[item] : self.indptr[item + 1]]

    def explode(self, items: NDArray[np.int32]) -> tuple[Ints, Ints]:
        """Return ``(owner, token)`` for each token of each of ``items``; ``owner`` is a position in ``items``."""
        lengths = self.indptr[items + 1] - self.indptr[items]
        owner = np.repeat(np.arange(len(items)), lengths)
        within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return owner.astype(np.int64), self.flat[self.indptr[items][owner] + within]


class ByKey:
    """Sums and smallest values over keys, read off at other keys.

    Parameters
    ----------
    keys
        Of the things that are summed.
    wanted
        Where the sums are read off; one that is no key gets nothing.
    """

    def __init__(self, keys: Ints, wanted: Ints) -> None:
        self.known, self._group = np.unique(keys, return_inverse=True)
        place = self.known.searchsorted(wanted)
        # One group more, which nothing is in.
        self._place = np.where(np.append(self.known, -1)[place] == wanted, place, len(self.known))

    def totals(self, weights: Floats | NDArray[np.bool_] | None = None) -> Floats:
        """Return the sum of ``weights`` (ones for None) of each of the ``known`` keys."""
        return sums(self._group, len(self.known), weights)

    def smallest(self, values: Ints) -> Ints:
        """Return the smallest of ``values`` of each of the ``known`` keys."""
        least = np.full(len(self.known), np.iinfo(np.int64).max)
        np.minimum.at(least, self._group, values)
        return least

    def read(self, of_known: NDArray[T], otherwise: float) -> NDArray[T]:
        """Return what each of the ``known`` keys has at the wanted ones, ``otherwise`` where one is not known."""
        return np.append(of_known, np.asarray(otherwise, dtype=of_known.dtype))[self._place]


class ItemTimeline:
    """Everyone's events by item, in the order of the fold, for running totals as of a moment."""

    def __init__(self, events: Events) -> None:
        order = fold_order(events)
        self.events = order[np.argsort(events.item[order], kind="stable")]
        self.item = events.item[self.events]
        self.time = events.time[self.events]
        counts = np.bincount(events.item, minlength=events.n_items)
        self._begin = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        # Times are kept as their ranks: item and rank then fit one sortable key.
        self._times = np.unique(self.time)
        self._keys = self.item.astype(np.int64) * (len(self._times) + 1) + np.searchsorted(self._times, self.time)

    def until(self, item: NDArray[np.int32], now: Ints) -> tuple[Ints, Ints]:
        """Return ``[R]`` where each row's visible events begin and end on this timeline."""
        rank = np.where(now == NO_TIME, len(self._times), np.searchsorted(self._times, now))
        # An event without a time lies before every moment, even one at the start of time.
        end = np.searchsorted(self._keys, item.astype(np.int64) * (len(self._times) + 1) + rank)
        return self._begin[item], end.astype(np.int64)

    def running(self, weights: Floats) -> Floats:
        """``[E + 1]`` running total of ``weights``, given in the log's order: a slice's sum is a difference of two."""
        return np.concatenate([[0.0], np.cumsum(weights[self.events])])


def decayed_totals(timeline: ItemTimeline, marks: NDArray[np.bool_], half_life_us: float) -> Floats:
    """``[E]`` on the timeline: after each event, its item's total of marked events, halved every ``half_life_us``.

    The recursion ``y_i = a_i * y_{i-1} + b_i`` is solved by doubling (Hillis and Steele, 1986), in log2(E) passes that
    never overflow because every ``a_i`` is at most 1. Events without a time count for nothing.
    """
    dated = timeline.time != NO_TIME
    same = np.concatenate([[False], (timeline.item[1:] == timeline.item[:-1]) & dated[:-1]])
    gap = np.concatenate([[0.0], np.diff(np.where(dated, timeline.time, 0)).astype(np.float64)])
    a = np.where(same, np.exp2(-np.maximum(gap, 0.0) / half_life_us), 0.0)
    b: Floats = (marks[timeline.events] & dated).astype(np.float64)
    step = 1
    while step < len(b):
        b[step:] = b[step:] + a[step:] * b[:-step]
        a[step:] = a[step:] * a[:-step]
        step *= 2
    return b
