"""Distance between a candidate and the viewer's recent likes, in length and in year of publication."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.features.core import Event, Feature, FeatureRows, Group, State
from foveate.features.past import MICROSECONDS_PER_HOUR, UNKNOWN_VALUE, Floats, Recent, moments_of, ratio, recent, sums

LAST_POSITIVES = 20
HOURS_PER_YEAR = 8766


class TasteMatch(Feature):
    """Distance of a fact of the candidate to its mean over the last 20 positive events, signed and not.

    The distance is -1 and the difference 0 where the candidate's fact is unknown or no past event has one. They need
    no clock: a year of publication is a fact of the item, and not of the moment.
    """

    scope: ClassVar[Literal["item", "viewer"]] = "viewer"
    group: ClassVar[Group] = "cross"

    def fact(self, catalog: Catalog) -> Floats:
        """``[I]`` the fact, NaN where unknown."""
        raise NotImplementedError

    def start(self, catalog: Catalog) -> State:
        return {"fact": self.fact(catalog), "items": deque(maxlen=LAST_POSITIVES)}

    def update(self, state: State, event: Event) -> None:
        if event.positive:
            state["items"].append(event.item)

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        facts = state["fact"][list(state["items"])]
        known = facts[~np.isnan(facts)]
        mean = known.mean() if len(known) else np.nan
        return _distance(state["fact"][items], np.full(len(items), mean))

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        fact, moments = catalog.once((type(self).name, "fact"), lambda: self.fact(catalog)), moments_of(rows)
        past = rows.once_beside(events, "last positives", lambda: _last_positives(events, rows))
        facts = fact[events.item[past.event]]
        past, facts = past.where(~np.isnan(facts)), facts[~np.isnan(facts)]
        mean = ratio(sums(past.moment, len(moments), facts), sums(past.moment, len(moments)), np.nan)
        return _distance(fact[rows.item], mean[moments.of_row])


@dataclass(frozen=True)
class LengthMatch(TasteMatch):
    """Distance in log seconds."""

    name: ClassVar[str] = "length_match"
    columns: ClassVar[tuple[str, ...]] = ("length_distance", "length_difference")

    def fact(self, catalog: Catalog) -> Floats:
        seconds = catalog.duration.astype(np.float64)
        return np.where(seconds >= 0, np.log1p(np.maximum(seconds, 0.0)), np.nan)


@dataclass(frozen=True)
class YearMatch(TasteMatch):
    """Distance in years of publication."""

    name: ClassVar[str] = "year_match"
    columns: ClassVar[tuple[str, ...]] = ("year_distance", "year_difference")

    def fact(self, catalog: Catalog) -> Floats:
        known = catalog.published_at != NO_TIME
        return np.where(
            known, np.where(known, catalog.published_at, 0) / (MICROSECONDS_PER_HOUR * HOURS_PER_YEAR), np.nan
        )


def _last_positives(events: Events, rows: FeatureRows) -> Recent:
    """Return the last positive events before each moment of ``rows``."""
    moments = moments_of(rows)
    past = recent(events, moments)
    past = past.where(events.positive[past.event])
    # Counted from the newest: how many positive events of the same moment lie after each.
    ends = np.searchsorted(past.moment, past.moment, side="right")
    return past.where(ends - np.arange(len(ends)) <= LAST_POSITIVES)


def _distance(facts: Floats, means: Floats) -> NDArray[np.float32]:
    known = ~np.isnan(facts) & ~np.isnan(means)
    difference = np.where(known, facts - means, 0.0)
    distance = np.where(known, np.abs(difference), UNKNOWN_VALUE)
    return np.stack([distance, difference], axis=1).astype(np.float32)
