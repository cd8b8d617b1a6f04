"""Length of an item, and its age where the time of the request is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.features.core import Event, Feature, FeatureRows, Group, State
from foveate.features.past import MICROSECONDS_PER_HOUR, UNKNOWN_VALUE, Ints


@dataclass(frozen=True)
class ItemLength(Feature):
    """Log seconds of the video; -1 where unknown."""

    name: ClassVar[str] = "item_length"
    columns: ClassVar[tuple[str, ...]] = ("item_length",)
    scope: ClassVar[Literal["item", "viewer"]] = "item"
    group: ClassVar[Group] = "video"

    def start(self, catalog: Catalog) -> State:
        seconds = catalog.duration.astype(np.float64)
        return {"length": np.where(seconds >= 0, np.log1p(np.maximum(seconds, 0.0)), UNKNOWN_VALUE)}

    def update(self, state: State, event: Event) -> None:
        """Learn nothing: events do not change a video's length."""

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return state["length"][items, None].astype(np.float32)  # type: ignore[no-any-return]

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        return self.start(catalog)["length"][rows.item, None].astype(np.float32)  # type: ignore[no-any-return]

    def fold(self, events: Events, catalog: Catalog) -> State:
        return self.start(catalog)


@dataclass(frozen=True)
class ItemAge(Feature):
    """Log days since an item was published; -1 where unknown, 0 where it is still to come."""

    name: ClassVar[str] = "item_age"
    columns: ClassVar[tuple[str, ...]] = ("item_age",)
    scope: ClassVar[Literal["item", "viewer"]] = "item"
    group: ClassVar[Group] = "video"
    needs_time: ClassVar[bool] = True

    def start(self, catalog: Catalog) -> State:
        return {"published": catalog.published_at.astype(np.int64)}

    def update(self, state: State, event: Event) -> None:
        """Learn nothing: events do not change when a video was published."""

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return _age(state["published"][items], np.full(len(items), query.now, dtype=np.int64))

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        return _age(catalog.published_at[rows.item], rows.now)

    def fold(self, events: Events, catalog: Catalog) -> State:
        return self.start(catalog)


def _age(published: Ints, now: Ints) -> NDArray[np.float32]:
    known = (published != NO_TIME) & (now != NO_TIME)
    gap = np.where(known, now, 0).astype(np.float64) - np.where(known, published, 0)
    days = np.maximum(gap, 0.0) / (24 * MICROSECONDS_PER_HOUR)
    return np.where(known, np.log1p(days), UNKNOWN_VALUE)[:, None].astype(np.float32)
