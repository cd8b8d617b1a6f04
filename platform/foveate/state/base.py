"""The Protocols of the two stores, and what goes through them.

A file and a server fill them; nothing above this folder knows which one it talks to.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import polars as pl

from foveate.core.messages import RecommendRequest, RequestContext, Slate, ViewerHistory


@dataclass(frozen=True, slots=True)
class ViewerEvent:
    """One thing a viewer did. ``occurred_at`` is UTC microseconds or None; the store gives order of arrival.

    ``event_id`` belongs to the viewer: two viewers may have events of the same id, one viewer may not.
    """

    user_id: str
    item_id: str
    kind: str
    value: float = 1.0
    occurred_at: int | None = None
    event_id: str | None = None
    impression_id: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event as a store holds it: ``event`` has an id, ``version`` is the viewer's version that it made."""

    event: ViewerEvent
    version: int
    received_at: int
    """UTC microseconds."""


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """What was asked and what was answered: enough to make the slate again."""

    request: RecommendRequest
    context: RequestContext
    slate: Slate


class ViewerState(Protocol):
    """What viewers have done."""

    def history(self, user_id: str, version: int | None = None) -> ViewerHistory:
        """Return a viewer's newest events, oldest first.

        Empty for an unknown viewer. ``version`` reads the past as it was then.

        Raises
        ------
        NotFoundError
            Events that were in that version were dropped.
        StateError
            The store cannot be used.
        """
        ...

    def histories(self, user_ids: Sequence[str]) -> list[ViewerHistory]:
        """Return several viewers' histories of now, in the order of their ids as they are given."""
        ...

    def append(self, events: Sequence[ViewerEvent]) -> int:
        """Add events, all or none; one whose ``event_id`` the viewer already has is ignored. Returns how many were new.

        Raises
        ------
        RequestError
            An event cannot be what a viewer did; see :func:`foveate.state.event_checks.check_events`.
        StateError
            The store cannot be used.
        """
        ...


class ViewerStore(ViewerState, Protocol):
    """A store of what viewers have done: opened, closed, copied and emptied of a viewer."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Let go of the store."""
        ...

    def check(self) -> None:
        """See that the store can be used, and is the one that was opened.

        Raises
        ------
        StateError
            It is not.
        """
        ...

    def prepare(self) -> None:
        """Bring what an older Foveate wrote up to date, before something serves from the store.

        Raises
        ------
        StateError
            The store cannot be used.
        """
        ...

    def users(self, limit: int) -> list[str]:
        """Return the ids of up to ``limit`` viewers, in the order of their ids."""
        ...

    def forget(self, user_id: str) -> int:
        """Erase everything that a viewer did. Returns how many events that were."""
        ...

    def kept(self) -> Iterator[Sequence[KeptEvent]]:
        """Yield every event in parts that memory can hold, each viewer's in the order of arrival."""
        ...

    def keep(self, events: Sequence[KeptEvent]) -> int:
        """Add events of another store, each viewer's in the order of arrival; returns how many were new.

        An event keeps its version where that is above all that the viewer has here, and else gets a new one.
        """
        ...

    def move_export(self, name: str, version: int) -> None:
        """Say that an export has read all events up to a version: newer ones are not dropped before it has them."""
        ...

    def holds(self, events: Sequence[KeptEvent]) -> int:
        """Return how many of these events are here, by viewer and id."""
        ...

    def version(self) -> int:
        """Return the newest version that was given, 0 before there is one."""
        ...

    def import_events(self, events: pl.DataFrame | pl.LazyFrame, source: str = "") -> int:
        """Add a table of events; returns how many were new.

        Parameters
        ----------
        events, source
            As :func:`foveate.state.sqlite.event_table.event_rows` takes them.

        Raises
        ------
        SchemaError
            A needed column is missing.
        """
        ...

    def imports(self) -> Mapping[str, int]:
        """Return the logs that were imported, by their hashes, each with how many of its events were new."""
        ...

    def remember_import(self, content_hash: str, events: int) -> None:
        """Keep that a log was imported, with how many of its events were new; one that is known stays as it is."""
        ...


class ImpressionSink(Protocol):
    """What viewers were shown."""

    def write(self, served: Sequence[ServedRequest]) -> None:
        """Keep each served slate with the features that were used."""
        ...

    def read(self, request_id: str) -> ServedRequest:
        """Return one served request.

        Raises
        ------
        NotFoundError
            No request of that id was kept.
        """
        ...


class ImpressionStore(ImpressionSink, Protocol):
    """A store of what viewers were shown; it also remembers where each bundle lay when it was served."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Let go of the store."""
        ...

    def request_ids(self, limit: int | None = 100) -> list[str]:
        """Return the ids of up to ``limit`` kept requests (None: all), latest first."""
        ...

    def forget(self, user_id: str) -> int:
        """Erase everything that a viewer was shown. Returns how many records that were."""
        ...

    def remember_bundle(self, bundle_id: str, path: Path) -> None:
        """Keep where a bundle lies; the latest place counts."""
        ...

    def bundle_path(self, bundle_id: str) -> Path:
        """Return where a bundle lay when it was last served.

        Raises
        ------
        NotFoundError
            The bundle was never served from this store.
        """
        ...

    def bundles(self) -> Mapping[str, Path]:
        """Return every bundle's place by its id."""
        ...


def utc_micros() -> int:
    """Return the time of the machine's clock, UTC microseconds."""
    return time.time_ns() // 1000
