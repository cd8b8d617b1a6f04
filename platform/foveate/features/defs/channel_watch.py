"""Share of a channel's videos that the viewer watches through."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS, WATCH
from foveate.data.vocabulary import UNKNOWN
from foveate.features.core import Event, Feature, FeatureRows, Group, State
from foveate.features.past import UNKNOWN_VALUE, ByKey, moments_of, ratio, recent, sums

WATCH_CODE = EVENT_KINDS.index(WATCH)
LAST_EVENTS = 50
LONGEST_RATIO = 3.0


@dataclass(frozen=True)
class ChannelWatch(Feature):
    """Mean watched share of the video over the last 50 events: for the candidate's channel, and for all channels.

    -1 where nothing was watched.
    """

    name: ClassVar[str] = "channel_watch"
    columns: ClassVar[tuple[str, ...]] = ("channel_watch_ratio", "viewer_watch_ratio")
    scope: ClassVar[Literal["item", "viewer"]] = "viewer"
    group: ClassVar[Group] = "cross"

    def start(self, catalog: Catalog) -> State:
        return {"catalog": catalog, "events": deque(maxlen=LAST_EVENTS)}

    def update(self, state: State, event: Event) -> None:
        state["events"].append(event)

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        catalog: Catalog = state["catalog"]
        watched = [
            (int(catalog.channel[e.item]), min(max(e.value / float(catalog.duration[e.item]), 0.0), LONGEST_RATIO))
            for e in state["events"]
            if e.kind == WATCH_CODE and catalog.duration[e.item] > 0
        ]

        def mean(ratios: list[float]) -> float:
            return sum(ratios) / len(ratios) if ratios else UNKNOWN_VALUE

        everywhere = mean([share for _, share in watched])
        channels = [int(channel) for channel in catalog.channel[items]]
        own = [mean([share for at, share in watched if at == c != UNKNOWN]) for c in channels]
        return np.array([own, [everywhere] * len(items)], dtype=np.float32).T

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        moments = moments_of(rows)
        past = recent(events, moments, LAST_EVENTS)
        seconds = catalog.duration[events.item[past.event]]
        watched = (events.kind[past.event] == WATCH_CODE) & (seconds > 0)
        past, seconds = past.where(watched), seconds[watched].astype(np.float64)
        shares = np.clip(events.value[past.event] / seconds, 0.0, LONGEST_RATIO)
        everywhere = ratio(sums(past.moment, len(moments), shares), sums(past.moment, len(moments)), UNKNOWN_VALUE)
        channel, wanted = catalog.channel[events.item[past.event]], catalog.channel[rows.item]
        size, known = len(catalog.channels) + 1, channel != UNKNOWN
        keys = (past.moment * size + channel)[known]
        wanted_keys = np.where(wanted != UNKNOWN, moments.of_row * size + wanted, UNKNOWN)
        met = ByKey(keys, wanted_keys)
        own = met.read(ratio(met.totals(shares[known]), met.totals(), UNKNOWN_VALUE), UNKNOWN_VALUE)
        return np.stack([own, everywhere[moments.of_row]], axis=1).astype(np.float32)
