"""The Protocol of a feature: one definition that training and serving both read.

A feature folds events into a state (``update``), and reads the state for a request (``read``). ``as_of`` computes the
same numbers for many past moments at once; a property test holds it equal to the fold, which also catches leakage.

What a row may see is decided here, once (:func:`fold_order`): an ``item`` feature sees everyone's events strictly
before the row's ``now``, events without a time lying before every dated one; a ``viewer`` feature sees the viewer's
own events up to the row's ``position``. Where the clock is order only, ``now`` is ``NO_TIME``: an ``item`` feature
then sees the whole log it is handed, so that log must end before the row's label does, and features that
``needs_time`` are left out.

Shapes: ``N`` candidates, ``R`` training rows, ``C`` columns of one feature, ``F`` columns of all, ``I`` items,
``E`` events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME, Query
from foveate.core.once import Once
from foveate.core.registry import Registry, Variant
from foveate.data.catalog import Catalog
from foveate.data.events import Events

Group: TypeAlias = Literal["viewer", "video", "cross"]

State: TypeAlias = Any
"""What a feature remembers: for ``item`` features a dict of arrays by item code, which a bundle can store."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event in codes, as ``update`` sees it; ``order`` counts the viewer's events before it."""

    user: int
    item: int
    kind: int
    value: float
    weight: float
    positive: bool
    time: int
    order: int


@dataclass(frozen=True)
class FeatureRows(Once):
    """Moments to read features at.

    Candidate ``item`` shown to ``user`` when ``position`` of their events had happened, at ``now``. All arrays are
    ``[R]``. The rows of one moment should lie together: they share its work.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    position: NDArray[np.int64]
    now: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.item)


class Feature(Variant):
    """Base of the features; each file of ``features/defs`` that defines one adds a feature.

    ``scope`` says whose events the state folds: ``item`` features fold everyone's events into the item's row and live
    in the bundle; ``viewer`` features fold the viewer's own events and are computed from the history that a request
    carries. Every answer is finite: what is not known is -1 or 0, as the feature says.

    ``group`` says what it tells of: the ``viewer``, the ``video``, or both together (``cross``).
    """

    variants: ClassVar[Registry[Feature]]
    columns: ClassVar[tuple[str, ...]]
    scope: ClassVar[Literal["item", "viewer"]]
    group: ClassVar[Group]
    needs_time: ClassVar[bool] = False

    def start(self, catalog: Catalog) -> State:
        """Return the state before any event."""
        raise NotImplementedError

    def update(self, state: State, event: Event) -> None:
        """Fold one event into the state."""
        raise NotImplementedError

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[N, C]`` for the candidates ``items`` of one request."""
        raise NotImplementedError

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        """Return ``[R, C]``: what ``read`` would have answered at each row's moment."""
        raise NotImplementedError

    def fold(self, events: Events, catalog: Catalog) -> State:
        """Return the state after all of ``events``; features with a faster way of the same result override this."""
        state = self.start(catalog)
        for event in events_of(events, fold_order(events)):
            self.update(state, event)
        return state


Feature.variants = Registry("feature", Feature, "foveate.features.defs")


def fold_order(events: Events) -> NDArray[np.int64]:
    """Return the positions of everyone's events in the order they are folded: undated first, then by time.

    Ties keep the log's own order, so that no viewer's events change places.
    """
    return np.argsort(events.time, kind="stable").astype(np.int64)


def ranks_of(events: Events) -> NDArray[np.int64]:
    """``[E]``: how many events of the same viewer lie before each."""
    return np.arange(len(events), dtype=np.int64) - events.offsets()[events.user]


def events_of(events: Events, positions: NDArray[np.int64]) -> list[Event]:
    """Return the events at ``positions`` as ``update`` takes them."""
    ranks = ranks_of(events)
    return [
        Event(
            user=int(events.user[p]),
            item=int(events.item[p]),
            kind=int(events.kind[p]),
            value=float(events.value[p]),
            weight=float(events.weight[p]),
            positive=bool(events.positive[p]),
            time=int(events.time[p]),
            order=int(ranks[p]),
        )
        for p in positions.tolist()
    ]


def visible(events: Events, feature: type[Feature], user: int, position: int, now: int) -> NDArray[np.int64]:
    """Return the positions of the events that a feature may see at one moment, in the order of the fold."""
    if feature.scope == "viewer":
        start = int(events.offsets()[user])
        return np.arange(start, start + position, dtype=np.int64)
    order = fold_order(events)
    return order if now == NO_TIME else order[events.time[order] < now]
