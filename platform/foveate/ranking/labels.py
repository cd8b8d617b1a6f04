"""Labels of a ranker: the events that followed a candidate, each kind with a weight of its own.

Shapes: ``W`` watches, ``N`` candidates of one viewer, ``E`` events of a window, ``P`` pairs of viewer and item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS, RATE, WATCH
from foveate.data.split import Stage

Floats = NDArray[np.float64]

LIKED = "liked"
"""The one signal of labels without weights: that the viewer went on to like the item."""


@dataclass(frozen=True)
class Labels:
    """What each kind of event adds to the label of a candidate.

    Every kind comes to a signal: 1 where it happened, 0 where not. A ``watch`` comes to how long it was among those of
    videos of like length, from 0 to 1: seconds alone would teach that long videos are the better ones. A ``rate`` comes
    to 1 at the best stars, 0 at the neutral ones, and less than 0 below. A label is the weighted sum of the signals, so
    a ``hide`` with a weight below 0 puts a candidate below those that nothing came of.

    Source of the watch's quantile: Zhan et al., Deconfounding duration bias in watch-time prediction for video
    recommendation (KDD 2022), section 4. Zheng et al., DVR: micro-video recommendation optimizing watch-time-gain under
    duration bias (MM 2022) standardise within the bucket instead, which a few very long watches would rule.

    Parameters
    ----------
    weights
        By kind of event. Empty labels 1 what the viewer went on to like for the first time, by the recipe's signals,
        and 0 all else.
    duration_buckets
        Into how many classes of length, equally full, the watches are sorted; fewer where watches are few.
    neutral_stars, best_stars
        Of the log's scale of ratings.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    duration_buckets: int = 20
    neutral_stars: float = 3.0
    best_stars: float = 5.0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - set(EVENT_KINDS))
        if unknown:
            raise ConfigError(f"labels: unknown event kind '{unknown[0]}'. Known: {', '.join(EVENT_KINDS)}.")
        if self.weights and not any(weight > 0 for weight in self.weights.values()):
            raise ConfigError("labels: no kind weighs more than 0, so no candidate would be better than another")
        if not np.isfinite(list(self.weights.values())).all():
            raise ConfigError("labels: weights must be finite numbers")
        if self.duration_buckets < 1 or self.best_stars <= self.neutral_stars:
            raise ConfigError("labels: duration_buckets must be 1 or more, and best_stars above neutral_stars")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that weigh something, in the order of all kinds."""
        return tuple(kind for kind in EVENT_KINDS if self.weights.get(kind))

    def of(self, stage: Stage, duration: NDArray[np.float32]) -> WindowLabels:
        """Read a window.

        Parameters
        ----------
        stage
            With what was done after its cut, where ``weights`` ask for it.
        duration
            ``[I]`` seconds of each item, NaN where unknown.
        """
        if not self.weights:
            user = stage.targets.user_of_rows()
            pairs = _Pairs(user, stage.targets.items, np.ones(len(user)), len(duration))
            return WindowLabels({LIKED: pairs}, {LIKED: 1.0})
        if stage.after is None:
            raise AssertionError("a stage whose labels weigh events must hold them")
        return self.of_events(stage.after, duration)

    def of_events(self, events: Events, duration: NDArray[np.float32]) -> WindowLabels:
        """Read events as they are; without ``weights`` those that count as interest label 1.

        Parameters
        ----------
        duration
            ``[I]`` seconds of each item, NaN where unknown.
        """
        if not self.weights:
            liked = events.take(events.positive)
            return WindowLabels(
                {LIKED: _Pairs(liked.user, liked.item, np.ones(len(liked)), len(duration))}, {LIKED: 1.0}
            )
        values_E = self._values(events, duration)
        weights = {kind: float(self.weights[kind]) for kind in self.kinds}
        return WindowLabels({kind: _pairs_of(events, kind, values_E) for kind in weights}, weights)

    def _values(self, events: Events, duration: NDArray[np.float32]) -> Floats:
        """``[E]``: what each event comes to."""
        values_E = np.ones(len(events))
        watched = events.kind == EVENT_KINDS.index(WATCH)
        seconds, length = events.value[watched].astype(np.float64), duration[events.item[watched]].astype(np.float64)
        values_E[watched] = watch_quantiles(seconds, length, self.duration_buckets)
        rated = events.kind == EVENT_KINDS.index(RATE)
        span = self.best_stars - self.neutral_stars
        values_E[rated] = np.clip((events.value[rated] - self.neutral_stars) / span, -1.0, 1.0)
        return values_E


class WindowLabels:
    """The labels of one window, by viewer and item; ``weights`` are those of the signals."""

    def __init__(self, pairs: Mapping[str, _Pairs], weights: Mapping[str, float]) -> None:
        self._pairs = pairs
        self.weights = weights

    def signals(self, user: int | NDArray[np.int32], items: NDArray[np.int32]) -> dict[str, NDArray[np.float32]]:
        """Return ``[N]`` what came of each item, by signal; of one viewer, or ``[N]`` of each item's own."""
        return {name: pairs.of(user, items) for name, pairs in self._pairs.items()}

    def total(self, signals: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return ``[N]`` the label that signals add up to."""
        summed: Floats = np.sum([self.weights[name] * own.astype(np.float64) for name, own in signals.items()], axis=0)
        return summed.astype(np.float32)


class _Pairs:
    """A number for each pair of viewer and item, the last one that is given; 0 for every other pair."""

    def __init__(self, user: NDArray[np.int32], item: NDArray[np.int32], value: Floats, n_items: int) -> None:
        keys = user.astype(np.int64) * n_items + item
        # Counted from the end, the first of a key is its last.
        self._keys, first = np.unique(keys[::-1], return_index=True)
        self._values = value[::-1][first].astype(np.float32)
        self._n_items = n_items

    def of(self, user: int | NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[N]`` the numbers of one viewer, or of each item's own."""
        wanted = np.asarray(user, dtype=np.int64) * self._n_items + items
        place = np.searchsorted(self._keys, wanted)
        found = np.append(self._keys, -1)[place] == wanted
        return np.where(found, np.append(self._values, np.float32(0.0))[place], np.float32(0.0))


def _pairs_of(events: Events, kind: str, values_E: Floats) -> _Pairs:
    """Return what a viewer's last event of a kind on an item came to; of watches, the longest."""
    rows = np.flatnonzero(events.kind == EVENT_KINDS.index(kind))
    if kind == WATCH:
        rows = rows[np.argsort(values_E[rows], kind="stable")]
    return _Pairs(events.user[rows], events.item[rows], values_E[rows], events.n_items)


def watch_quantiles(seconds_W: Floats, length_W: Floats, buckets: int, *, fewest: int = 50) -> Floats:
    """Return ``[W]`` from 0 to 1 how long each watch is among those of videos of like length.

    Videos of unknown length are a class of their own. Equal watches get the middle of their ranks.

    Parameters
    ----------
    seconds_W, length_W
        How long was watched, and how long the video lasts (NaN where unknown).
    buckets
        How many classes of length there are at most.
    fewest
        Watches that a class should hold; there are fewer classes where they would hold less.
    """
    known = np.isfinite(length_W)
    classes = max(1, min(buckets, int(known.sum()) // fewest))
    edges = np.quantile(length_W[known], np.arange(1, classes) / classes) if known.any() else np.empty(0)
    bucket_W = np.where(known, np.searchsorted(edges, length_W, side="right"), classes)
    out = np.zeros(len(seconds_W))
    for bucket in np.unique(bucket_W):
        own = np.flatnonzero(bucket_W == bucket)
        ordered = np.sort(seconds_W[own])
        below, upto = (np.searchsorted(ordered, seconds_W[own], side=side) for side in ("left", "right"))
        out[own] = (below + upto) / (2 * len(own))
    return out
