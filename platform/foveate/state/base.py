"""The Protocols of the two stores, and what goes through them.

A file and a server fill them; nothing above this folder knows which one it talks to.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

import numpy as np
import polars as pl

from foveate.core.errors import RequestError
from foveate.core.messages import NO_TIME, RecommendRequest, RequestContext, Slate, ViewerHistory


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
    request_id: str | None = None
    """The request whose slate it answers, where no impression is named."""


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


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A served request as a store holds it. ``sequence`` grows with every one that is kept, whatever clocks say."""

    served: ServedRequest
    sequence: int
    kept_at: int
    """UTC microseconds."""


@dataclass(frozen=True, slots=True)
class Export:
    """An export that a store knows of: what it has not read is not dropped, and what is erased goes from it too.

    Parameters
    ----------
    name
        Its own, made when it was registered.
    folder
        Where it lies.
    key_file
        Where the key of its pseudonyms lies; empty where it has none.
    """

    name: str
    folder: str
    key_file: str = ""


@dataclass(frozen=True, slots=True)
class Erased:
    """What a store erased of a viewer.

    Parameters
    ----------
    erasure_id
        Names the erasure; see :meth:`ViewerStore.pending`.
    events, requests
        How many there were.
    sessions
        Anonymous requests among ``requests``: the viewer's events named them.
    first
        When the first of it happened or was shown, UTC microseconds; None where there was nothing, or no time.
    """

    erasure_id: str
    events: int
    requests: int
    sessions: int
    first: int | None = None


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

    def erase(self, user_id: str) -> Erased:
        """Erase a viewer: what they did and were shown, and the anonymous requests that their events name.

        All of it goes in one step, and with the same step every registered export is noted to be rewritten. What was
        on its way into the store then is not kept either. The bytes may stay on the disk until :meth:`wipe`.
        """
        ...

    def wipe(self) -> str:
        """Have the disk hold nothing of what was erased; returns when it will where it cannot now, else nothing.

        A viewer's id is held for as long as an export has not followed.
        """
        ...

    def pending(self, export: str) -> Sequence[tuple[str, str]]:
        """Return the ids of erasures that an export has not followed, each with its viewer's."""
        ...

    def followed(self, erasure_id: str, export: str) -> None:
        """Say that an export has followed an erasure."""
        ...

    def keep_certificate(self, erasure_id: str, certificate: str) -> None:
        """Keep what came of an erasure, a text that does not name the viewer."""
        ...

    def certificates(self) -> Mapping[str, str]:
        """Return the certificates by the ids of erasures."""
        ...

    def kept(self) -> Iterator[Sequence[KeptEvent]]:
        """Yield every event in parts that memory can hold, each viewer's in the order of arrival."""
        ...

    def keep(self, events: Sequence[KeptEvent]) -> int:
        """Add events of another store, each viewer's in the order of arrival; returns how many were new.

        An event keeps its version where that is above all that the viewer has here, and else gets a new one.
        """
        ...

    def since(self, version: int, until: int) -> Iterator[Sequence[KeptEvent]]:
        """Yield the events above ``version`` up to ``until``, in parts, each viewer's in the order of arrival."""
        ...

    def store_id(self) -> str:
        """Return what names the content of this store: versions of another one mean nothing here."""
        ...

    def secret(self) -> bytes:
        """Return the store's own secret, by which it knows again what was written for it."""
        ...

    def register_export(self, export: Export) -> None:
        """Keep that there is an export; what it has not read is not dropped from now on."""
        ...

    def exports(self) -> Sequence[Export]:
        """Return the exports that are registered, by name."""
        ...

    def drop_export(self, name: str) -> None:
        """Forget an export, and what it had yet to follow; raises NotFoundError where there is none of that name."""
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

    def since(self, sequence: int) -> Iterator[Sequence[KeptRequest]]:
        """Yield the requests above a sequence number, in parts, in the order of their numbers."""
        ...

    def shown_to(self, user_id: str) -> Sequence[KeptRequest]:
        """Return all that is kept of what a viewer was shown, oldest first."""
        ...

    def move_export(self, name: str, sequence: int) -> None:
        """Say that an export has read all requests up to a number: newer ones are not dropped before it has them."""
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


def impression_id(request_id: str, position: int) -> str:
    """Return the id of one place of one slate: what an event names to say which showing it answers."""
    return f"{request_id}:{position}"


def request_of(impression: str) -> str:
    """Return the id of the request that an impression's id names."""
    return impression.rpartition(":")[0]


def utc_micros() -> int:
    """Return the time of the machine's clock, UTC microseconds."""
    return time.time_ns() // 1000


def history_of(user_id: str, rows: Sequence[Sequence[object]]) -> ViewerHistory:
    """Put rows of version, item, kind, value and time, in the order of arrival, into a history.

    An event with a time stands at its time; one without stands where it arrived.
    """
    times = np.array([NO_TIME if row[4] is None else row[4] for row in rows], dtype=np.int64)
    place = np.where(times == NO_TIME, np.maximum.accumulate(times), times) if len(times) else times
    order = np.argsort(place, kind="stable")
    return ViewerHistory(
        user_id=user_id,
        item_ids=tuple(str(rows[i][1]) for i in order),
        kinds=tuple(str(rows[i][2]) for i in order),
        values=np.array([rows[i][3] for i in order], dtype=np.float32),
        times=times[order],
        version=int(rows[-1][0]) if rows else 0,  # type: ignore[call-overload] # a version is a whole number
    )


class PinnedState:
    """A store as it was at one version: what a replay reads. It takes no events."""

    def __init__(self, state: ViewerState, version: int) -> None:
        self._state = state
        self._version = version

    def history(self, user_id: str, version: int | None = None) -> ViewerHistory:
        """Return a viewer's events up to the pinned version."""
        return self._state.history(user_id, self._version if version is None else min(version, self._version))

    def histories(self, user_ids: Sequence[str]) -> list[ViewerHistory]:
        """Return several viewers' events up to the pinned version."""
        return [self.history(user_id) for user_id in user_ids]

    def append(self, events: Sequence[ViewerEvent]) -> int:
        """Refuse: the past does not change."""
        raise RequestError(f"a state pinned at version {self._version} takes no events ({len(events)} were given)")


_SLACK_US: Final = 60_000_000
"""Microseconds by which the clocks of replicas may differ."""


def viewer_digest(secret: bytes, user_id: str) -> str:
    """Return the keyed digest of a viewer's id (BLAKE2b, RFC 7693), hexadecimal."""
    return hashlib.blake2b(user_id.encode("utf-8", "surrogatepass"), key=secret[:64], digest_size=32).hexdigest()


def asked_at(served: ServedRequest) -> int:
    """Return the moment to compare with an erasure's: what is not later was asked before it, or in the minute after.

    The deadline tells it by the clock of the server; a request's own moment may be one that a client has named.
    """
    return served.context.deadline - _SLACK_US


def check_erasable(user_id: str) -> None:
    """Refuse an id that is no viewer's.

    Raises
    ------
    RequestError
        It is empty: that is how anonymous visitors are kept.
    """
    if not user_id:
        raise RequestError("the id of the viewer to erase is empty: anonymous visitors have none")
