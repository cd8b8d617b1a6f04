"""What a feature is: one definition that training and serving both read.

A feature folds events into a state (``update``), and reads the state for a request (``read``). ``as_of`` computes the
same numbers for many past moments at once, for training; a property test holds it equal to the fold, which also
catches leakage.

Shapes: ``N`` candidates, ``R`` training rows, ``C`` columns of one feature, ``F`` columns of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.messages import Query
from foveate.registry import Registry, Variant


@dataclass(frozen=True, slots=True)
class Event:
    """One event in codes, as ``update`` sees it."""

    user: int
    item: int
    kind: int
    value: float
    weight: float
    positive: bool
    time: int


@dataclass(frozen=True)
class FeatureRows:
    """Past moments to read features at.

    Candidate ``item`` shown to ``user`` when ``position`` of their events had happened, at ``now``.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    position: NDArray[np.int64]
    now: NDArray[np.int64]


class Feature(Variant):
    """Base of the features; each file of ``features/defs`` that defines one adds a feature.

    ``scope`` says whose events the state folds: ``item`` features fold everyone's events into the item's row and live
    in the bundle; ``viewer`` features fold the viewer's own events and are computed from the history that a request
    carries.
    """

    variants: ClassVar[Registry[Feature]]
    columns: ClassVar[tuple[str, ...]]
    scope: ClassVar[Literal["item", "viewer"]]
    needs_time: ClassVar[bool] = False

    def start(self, catalog: Catalog) -> Any:
        """Return the state before any event."""
        raise NotImplementedError

    def update(self, state: Any, event: Event) -> None:
        """Fold one event into the state."""
        raise NotImplementedError

    def read(self, state: Any, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[N, C]`` for the candidates ``items`` of one request."""
        raise NotImplementedError

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        """Return ``[R, C]``: what ``read`` would have answered at each row's moment."""
        raise NotImplementedError


Feature.variants = Registry("feature", Feature, "foveate.features.defs")
