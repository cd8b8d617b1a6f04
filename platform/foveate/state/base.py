"""The Protocols of the two stores.

A cluster store fills them later; nothing above this folder knows which one it talks to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from foveate.messages import RecommendRequest, RequestContext, Slate, ViewerHistory


@dataclass(frozen=True, slots=True)
class ViewerEvent:
    """One thing a viewer did. ``occurred_at`` is UTC microseconds or None; the store gives order of arrival."""

    user_id: str
    item_id: str
    kind: str
    value: float = 1.0
    occurred_at: int | None = None
    event_id: str | None = None
    impression_id: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """What was asked and what was answered: enough to make the slate again."""

    request: RecommendRequest
    context: RequestContext
    slate: Slate


class ViewerState(Protocol):
    """What viewers have done."""

    def history(self, user_id: str, version: int | None = None) -> ViewerHistory:
        """Return a viewer's events, oldest first.

        Empty for an unknown viewer. ``version`` reads the past as it was then.
        """
        ...

    def append(self, events: Sequence[ViewerEvent]) -> int:
        """Add events; one whose ``event_id`` is already held is ignored. Returns how many were new."""
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
