"""Rates at which a video is completed, liked and hidden, smoothed towards the mean of all videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS, WATCH
from foveate.features.core import Event, Feature, FeatureRows, Group, State, fold_order
from foveate.features.past import Floats, Ints, ItemTimeline, ratio

PRIOR_WATCHES = 20.0
"""What is known of all videos weighs as much as so many watches of the one."""
COMPLETE = 0.9
"""Who watched this share of a video has seen it to its end: what follows is often credits."""

WATCH_CODE, LIKE_CODE, HIDE_CODE = (EVENT_KINDS.index(kind) for kind in (WATCH, "like", "hide"))

_RATES, _OF = (0, 2, 3), (1, 4, 4)
"""Which of the counts (completed, timed, likes, hides, watches) each column is the share of which other."""


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
        return _state(np.zeros((len(catalog), 5)), catalog)

    def update(self, state: State, event: Event) -> None:
        seconds = state["seconds"][event.item]
        watched, timed = event.kind == WATCH_CODE, event.kind == WATCH_CODE and seconds > 0 and event.value >= 0
        completed = timed and event.value >= COMPLETE * seconds
        marks = (completed, timed, event.kind == LIKE_CODE, event.kind == HIDE_CODE, watched)
        state["counts"][event.item] += marks
        state["everywhere"] += marks

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return _columns(state["counts"][items], state["everywhere"])

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        timeline = ItemTimeline(events)
        begin, end = timeline.until(rows.item, rows.now)
        order = fold_order(events)
        upto = _upto(events.time[order], rows.now)
        own, everywhere = [], []
        for marks in _marks(events, catalog):
            running = timeline.running(marks)
            own.append(running[end] - running[begin])
            everywhere.append(np.concatenate([[0.0], np.cumsum(marks[order])])[upto])
        return _columns(np.stack(own, axis=1), np.stack(everywhere, axis=1))

    def fold(self, events: Events, catalog: Catalog) -> State:
        marks = _marks(events, catalog)
        return _state(np.stack([np.bincount(events.item, m, minlength=len(catalog)) for m in marks], axis=1), catalog)


def _state(counts_I5: Floats, catalog: Catalog) -> State:
    everywhere = counts_I5.sum(axis=0)
    return {"counts": counts_I5, "everywhere": everywhere, "seconds": catalog.duration.astype(np.float64)}


def _marks(events: Events, catalog: Catalog) -> list[Floats]:
    """``[E]`` for each count: 1 where an event adds to it."""
    seconds = catalog.duration.astype(np.float64)[events.item]
    watched = events.kind == WATCH_CODE
    timed = watched & (seconds > 0) & (events.value >= 0)
    completed = timed & (events.value >= COMPLETE * seconds)
    every = (completed, timed, events.kind == LIKE_CODE, events.kind == HIDE_CODE, watched)
    return [marks.astype(np.float64) for marks in every]


def _upto(times_E: Ints, now_R: Ints) -> Ints:
    """``[R]``: how many of all events lie before each moment, all of them where it has no time."""
    return np.where(now_R == NO_TIME, len(times_E), np.searchsorted(times_E, now_R)).astype(np.int64)


def _columns(own_R5: Floats, everywhere: Floats) -> NDArray[np.float32]:
    """``[R, 3]`` from the counts of each row's item and those of all items, ``[5]`` or ``[R, 5]``."""
    usual = ratio(everywhere[..., _RATES], np.maximum(everywhere[..., _OF], everywhere[..., _RATES]))
    happened = own_R5[:, _RATES]
    watches = np.maximum(own_R5[:, _OF], happened)
    return ((happened + PRIOR_WATCHES * usual) / (watches + PRIOR_WATCHES)).astype(np.float32)
