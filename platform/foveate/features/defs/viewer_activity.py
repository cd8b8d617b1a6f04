"""Activity of a viewer: number of events, and time since the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.features.core import Event, Feature, FeatureRows, Group, State
from foveate.features.past import MICROSECONDS_PER_HOUR, UNKNOWN_VALUE, Floats, Ints, moments_of, ratio, recent


@dataclass(frozen=True)
class ViewerActivity(Feature):
    """Log count of a viewer's events and positive events, and the positive share."""

    name: ClassVar[str] = "viewer_activity"
    columns: ClassVar[tuple[str, ...]] = ("viewer_events", "viewer_positives", "viewer_positive_share")
    scope: ClassVar[Literal["item", "viewer"]] = "viewer"
    group: ClassVar[Group] = "viewer"

    def start(self, catalog: Catalog) -> State:
        return {"events": 0, "positives": 0}

    def update(self, state: State, event: Event) -> None:
        state["events"] += 1
        state["positives"] += int(event.positive)

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        row = _activity(np.array([state["events"]], dtype=float), np.array([state["positives"]], dtype=float))
        return np.repeat(row, len(items), axis=0)

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        moments = moments_of(rows)
        positives = np.concatenate([[0.0], np.cumsum(events.positive, dtype=np.float64)])
        start = events.offsets()[moments.user]
        counted = positives[start + moments.position] - positives[start]
        return _activity(moments.position.astype(np.float64), counted)[moments.of_row]


@dataclass(frozen=True)
class ViewerGap(Feature):
    """Log hours since the viewer's last dated event, -1 where there is none, and the hour of the day (UTC)."""

    name: ClassVar[str] = "viewer_gap"
    columns: ClassVar[tuple[str, ...]] = ("viewer_hours_away", "hour_of_day")
    scope: ClassVar[Literal["item", "viewer"]] = "viewer"
    group: ClassVar[Group] = "viewer"
    needs_time: ClassVar[bool] = True

    def start(self, catalog: Catalog) -> State:
        return {"last": NO_TIME}

    def update(self, state: State, event: Event) -> None:
        state["last"] = max(state["last"], event.time)

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        row = _gap(np.array([state["last"]]), np.array([query.now]))
        return np.repeat(row, len(items), axis=0)

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        moments = moments_of(rows)
        past = recent(events, moments)
        last = np.full(len(moments), NO_TIME, dtype=np.int64)
        np.maximum.at(last, past.moment, events.time[past.event])
        return _gap(last, moments.now)[moments.of_row]


def _activity(events: Floats, positives: Floats) -> NDArray[np.float32]:
    return np.stack([np.log1p(events), np.log1p(positives), ratio(positives, events)], axis=1).astype(np.float32)


def _gap(last: Ints, now: Ints) -> NDArray[np.float32]:
    timed = now != NO_TIME
    known = timed & (last != NO_TIME)
    gap = np.where(known, now, 0).astype(np.float64) - np.where(known, last, 0)
    away = np.where(known, np.log1p(np.maximum(gap, 0.0) / MICROSECONDS_PER_HOUR), UNKNOWN_VALUE)
    hour = np.where(timed, np.where(timed, now, 0) // MICROSECONDS_PER_HOUR % 24, UNKNOWN_VALUE)
    return np.stack([away, hour], axis=1).astype(np.float32)
