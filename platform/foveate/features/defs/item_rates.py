"""How often a video is watched to its end, liked and hidden, smoothed towards how often videos are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS, WATCH
from foveate.features.core import Event, Feature, FeatureRows, Group, State, fold_order
from foveate.features.past import Floats, Ints, ItemTimeline, ratio
from foveate.messages import NO_TIME, Query

PRIOR_WATCHES = 20.0
"""What is known of all videos weighs as much as so many watches of the one."""
COMPLETE = 0.9
"""Who watched this share of a video has seen it to its end: what follows is often credits."""

WATCH_CODE, LIKE_CODE, HIDE_CODE = (EVENT_KINDS.index(kind) for kind in (WATCH, "like", "hide"))
_COUNTS = ("completed", "timed", "likes", "hides", "watches")
_TOTALS = "everywhere"


@dataclass(frozen=True)
class ItemRates(Feature):
    """Shares of a video's watches that reached its end, and likes and hides a watch; 0 while nothing was watched.

    Each is the mean of a Beta posterior, ``(n + m * r) / (watches + m)``, whose prior is worth ``m = 20`` watches at
    the rate ``r`` of all videos at that moment: a video that few have watched has nearly the rate of all. Watches of
    unknown length say nothing of the end. Where a log holds likes without the watches, each counts as watched.
    Source: Gelman et al., Bayesian data analysis, third edition (2013), section 2.4.
    """

    name: ClassVar[str] = "item_rates"
    columns: ClassVar[tuple[str, ...]] = ("item_completion_rate", "item_like_rate", "item_hide_rate")
    scope: ClassVar[Literal["item", "viewer"]] = "item"
    group: ClassVar[Group] = "video"

    def start(self, catalog: Catalog) -> State:
        counts = {key: np.zeros(len(catalog)) for key in _COUNTS}
        return {**counts, _TOTALS: np.zeros(len(_COUNTS)), "seconds": catalog.duration.astype(np.float64)}

    def update(self, state: State, event: Event) -> None:
        seconds = state["seconds"][event.item]
        watched, timed = event.kind == WATCH_CODE, event.kind == WATCH_CODE and seconds > 0 and event.value >= 0
        marks = {
            "completed": timed and event.value >= COMPLETE * seconds,
            "timed": timed,
            "likes": event.kind == LIKE_CODE,
            "hides": event.kind == HIDE_CODE,
            "watches": watched,
        }
        for place, key in enumerate(_COUNTS):
            state[key][event.item] += marks[key]
            state[_TOTALS][place] += marks[key]

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return _columns([state[key][items] for key in _COUNTS], list(state[_TOTALS]))

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        timeline = ItemTimeline(events)
        begin, end = timeline.until(rows.item, rows.now)
        order = fold_order(events)
        upto = _upto(events.time[order], rows.now)
        own, everywhere = [], []
        for marks in _marks(events, catalog).values():
            running = timeline.running(marks)
            own.append(running[end] - running[begin])
            everywhere.append(np.concatenate([[0.0], np.cumsum(marks[order])])[upto])
        return _columns(own, everywhere)

    def fold(self, events: Events, catalog: Catalog) -> State:
        marks = _marks(events, catalog)
        counts = {key: np.bincount(events.item, own, minlength=len(catalog)) for key, own in marks.items()}
        totals = np.array([own.sum() for own in marks.values()])
        return {**counts, _TOTALS: totals, "seconds": catalog.duration.astype(np.float64)}


def _marks(events: Events, catalog: Catalog) -> dict[str, Floats]:
    """``[E]`` by count: 1 where an event adds to it."""
    seconds = catalog.duration.astype(np.float64)[events.item]
    watched = events.kind == WATCH_CODE
    timed = watched & (seconds > 0) & (events.value >= 0)
    completed = timed & (events.value >= COMPLETE * seconds)
    kinds = (events.kind == LIKE_CODE, events.kind == HIDE_CODE)
    every = (completed, timed, *kinds, watched)
    return {key: marks.astype(np.float64) for key, marks in zip(_COUNTS, every, strict=True)}


def _upto(times_E: Ints, now_R: Ints) -> Ints:
    """``[R]``: how many of all events lie before each moment, all of them where it has no time."""
    return np.where(now_R == NO_TIME, len(times_E), np.searchsorted(times_E, now_R)).astype(np.int64)


def _columns(own: list[Floats], everywhere: list[Floats]) -> NDArray[np.float32]:
    completed, timed, likes, hides, watches = zip(own, everywhere, strict=True)
    rates = [_rate(*completed, *timed), _rate(*likes, *watches), _rate(*hides, *watches)]
    return np.stack(rates, axis=1).astype(np.float32)


def _rate(own: Floats, own_everywhere: Floats, watches: Floats, watches_everywhere: Floats) -> Floats:
    usual = ratio(own_everywhere, np.maximum(watches_everywhere, own_everywhere))
    return np.asarray((own + PRIOR_WATCHES * usual) / (np.maximum(watches, own) + PRIOR_WATCHES))
