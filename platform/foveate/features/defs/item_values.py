"""Mean rating and watch share of an item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS, RATE, WATCH
from foveate.features.core import Event, Feature, FeatureRows, Group, State
from foveate.features.past import Floats, ItemTimeline

RATE_CODE, WATCH_CODE = EVENT_KINDS.index(RATE), EVENT_KINDS.index(WATCH)
PRIOR_COUNT, PRIOR_STARS, PRIOR_RATIO = 5.0, 3.5, 0.3
LONGEST_RATIO = 3.0
"""A video on repeat counts as three whole watches at most."""


@dataclass(frozen=True)
class ItemValues(Feature):
    """Mean stars and mean watched share of the video over everyone, shrunk to a prior of five events."""

    name: ClassVar[str] = "item_values"
    columns: ClassVar[tuple[str, ...]] = ("item_stars", "item_watch_ratio")
    scope: ClassVar[Literal["item", "viewer"]] = "item"
    group: ClassVar[Group] = "video"

    def start(self, catalog: Catalog) -> State:
        state = {key: np.zeros(len(catalog)) for key in ("stars", "rates", "ratios", "watches")}
        return {**state, "seconds": catalog.duration.astype(np.float64)}

    def update(self, state: State, event: Event) -> None:
        if event.kind == RATE_CODE:
            state["stars"][event.item] += event.value
            state["rates"][event.item] += 1
        elif event.kind == WATCH_CODE and state["seconds"][event.item] > 0:
            state["ratios"][event.item] += min(max(event.value / state["seconds"][event.item], 0.0), LONGEST_RATIO)
            state["watches"][event.item] += 1

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return _columns(*(state[key][items] for key in ("stars", "rates", "ratios", "watches")))

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        timeline = ItemTimeline(events)
        begin, end = timeline.until(rows.item, rows.now)
        weights = _weights(events, catalog).values()
        return _columns(*((running := timeline.running(w))[end] - running[begin] for w in weights))

    def fold(self, events: Events, catalog: Catalog) -> State:
        weights = _weights(events, catalog).items()
        state = {key: np.bincount(events.item, w, minlength=len(catalog)) for key, w in weights}
        return {**state, "seconds": catalog.duration.astype(np.float64)}


def _weights(events: Events, catalog: Catalog) -> dict[str, Floats]:
    seconds = catalog.duration.astype(np.float64)[events.item]
    rated = events.kind == RATE_CODE
    watched = (events.kind == WATCH_CODE) & (seconds > 0)
    ratios = np.clip(np.divide(events.value, seconds, out=np.zeros(len(events)), where=watched), 0.0, LONGEST_RATIO)
    return {
        "stars": np.where(rated, events.value, 0.0).astype(np.float64),
        "rates": rated.astype(np.float64),
        "ratios": ratios,
        "watches": watched.astype(np.float64),
    }


def _columns(stars: Floats, rates: Floats, ratios: Floats, watches: Floats) -> NDArray[np.float32]:
    mean_stars = (stars + PRIOR_COUNT * PRIOR_STARS) / (rates + PRIOR_COUNT)
    mean_ratio = (ratios + PRIOR_COUNT * PRIOR_RATIO) / (watches + PRIOR_COUNT)
    return np.stack([mean_stars, mean_ratio], axis=1).astype(np.float32)
