"""Recent popularity: decayed counts and the time since the last positive event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.features.core import Event, Feature, FeatureRows, Group, State
from foveate.features.past import MICROSECONDS_PER_HOUR, UNKNOWN_VALUE, Floats, Ints, ItemTimeline, decayed_totals

HALF_LIVES = {"day": 24.0, "three_days": 72.0, "month": 720.0}
"""Hours."""


@dataclass(frozen=True)
class ItemTrend(Feature):
    """Positive events, each halved every day, three days or month, and log hours since the last.

    Events without a time count for nothing here.
    """

    name: ClassVar[str] = "item_trend"
    columns: ClassVar[tuple[str, ...]] = (
        "item_trend_day",
        "item_trend_three_days",
        "item_trend_month",
        "item_trend_rise",
        "item_hours_since_positive",
    )
    scope: ClassVar[Literal["item", "viewer"]] = "item"
    group: ClassVar[Group] = "video"
    needs_time: ClassVar[bool] = True

    def start(self, catalog: Catalog) -> State:
        totals = {key: np.zeros(len(catalog)) for key in HALF_LIVES}
        return {**totals, "last": np.full(len(catalog), NO_TIME, dtype=np.int64)}

    def update(self, state: State, event: Event) -> None:
        if not event.positive or event.time == NO_TIME:
            return
        item, last = event.item, int(state["last"][event.item])
        for key, hours in HALF_LIVES.items():
            kept = 0.0 if last == NO_TIME else state[key][item] * _kept(event.time - last, hours)
            state[key][item] = kept + 1.0
        state["last"][item] = event.time

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        last = state["last"][items]
        return _columns([state[key][items] for key in HALF_LIVES], last, np.full(len(items), query.now))

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        positive = events.take(events.positive)
        timeline = ItemTimeline(positive)
        begin, end = timeline.until(rows.item, rows.now)
        known = end > begin
        place = np.where(known, end - 1, 0)
        marks = np.ones(len(positive), dtype=bool)
        totals = [decayed_totals(timeline, marks, hours * MICROSECONDS_PER_HOUR) for hours in HALF_LIVES.values()]
        last = np.where(known, _at(timeline.time, place, NO_TIME), NO_TIME)
        return _columns([np.where(known, _at(total, place, 0.0), 0.0) for total in totals], last, rows.now)

    def fold(self, events: Events, catalog: Catalog) -> State:
        positive = events.take(events.positive)
        timeline = ItemTimeline(positive)
        items = np.arange(len(catalog), dtype=np.int32)
        begin, end = timeline.until(items, np.full(len(items), NO_TIME))
        known, place = end > begin, np.maximum(end - 1, 0)
        marks = np.ones(len(positive), dtype=bool)
        state: State = {"last": np.where(known, _at(timeline.time, place, NO_TIME), NO_TIME)}
        for key, hours in HALF_LIVES.items():
            total = decayed_totals(timeline, marks, hours * MICROSECONDS_PER_HOUR)
            state[key] = np.where(known, _at(total, place, 0.0), 0.0)
        return state


def _at(values: NDArray[np.generic], place: Ints, otherwise: float) -> NDArray[np.generic]:
    return values[place] if len(values) else np.full(len(place), otherwise, dtype=values.dtype)


def _kept(gap: float | Floats, hours: float) -> Floats:
    return np.exp2(-np.maximum(gap, 0.0) / (hours * MICROSECONDS_PER_HOUR))


def _columns(totals: list[Floats], last: Ints, now: Ints) -> NDArray[np.float32]:
    known = (last != NO_TIME) & (now != NO_TIME)
    gap = np.where(known, now, 0).astype(np.float64) - np.where(known, last, 0)
    decayed = [
        np.where(known, total * _kept(gap, hours), 0.0)
        for total, hours in zip(totals, HALF_LIVES.values(), strict=True)
    ]
    # Both rates are an item's positives a day, the second over the month's habit: above 0 it is on the rise.
    rise = np.log1p(decayed[0]) - np.log1p(decayed[2] * HALF_LIVES["day"] / HALF_LIVES["month"])
    since = np.where(known, np.log1p(np.maximum(gap, 0.0) / MICROSECONDS_PER_HOUR), UNKNOWN_VALUE)
    return np.stack([*(np.log1p(total) for total in decayed), rise, since], axis=1).astype(np.float32)
