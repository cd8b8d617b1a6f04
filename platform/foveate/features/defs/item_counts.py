"""Number of watches of an item, and their place in viewers' histories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.features.core import Event, Feature, FeatureRows, Group, State, ranks_of
from foveate.features.past import Floats, ItemTimeline, ratio

PRIOR = 10.0
"""Events that a rare item's share is shrunk by."""


@dataclass(frozen=True)
class ItemCounts(Feature):
    """Counts of everyone's events, the share of them that are positive, and how late in a viewer's life they come.

    ``item_lateness`` is the mean of log(1 + earlier events of that viewer): newcomers' fare has a low one.
    """

    name: ClassVar[str] = "item_counts"
    columns: ClassVar[tuple[str, ...]] = ("item_positives", "item_events", "item_positive_share", "item_lateness")
    scope: ClassVar[Literal["item", "viewer"]] = "item"
    group: ClassVar[Group] = "video"

    def start(self, catalog: Catalog) -> State:
        return {key: np.zeros(len(catalog)) for key in ("positives", "events", "lateness")}

    def update(self, state: State, event: Event) -> None:
        state["events"][event.item] += 1
        if event.positive:
            state["positives"][event.item] += 1
            state["lateness"][event.item] += np.log1p(event.order)

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return _columns(state["positives"][items], state["events"][items], state["lateness"][items])

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        timeline = ItemTimeline(events)
        begin, end = timeline.until(rows.item, rows.now)
        weights = _weights(events)
        totals = [(running := timeline.running(w))[end] - running[begin] for w in weights.values()]
        return _columns(*totals)

    def fold(self, events: Events, catalog: Catalog) -> State:
        return {key: np.bincount(events.item, w, minlength=len(catalog)) for key, w in _weights(events).items()}


def _weights(events: Events) -> dict[str, Floats]:
    positive = events.positive.astype(np.float64)
    lateness = positive * np.log1p(ranks_of(events))
    return {"positives": positive, "events": np.ones(len(events)), "lateness": lateness}


def _columns(positives: Floats, events: Floats, lateness: Floats) -> NDArray[np.float32]:
    share = positives / (events + PRIOR)
    return np.stack([np.log1p(positives), np.log1p(events), share, ratio(lateness, positives)], axis=1).astype(
        np.float32
    )
