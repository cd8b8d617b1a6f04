"""Schemas of events."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from foveate.state.base import ViewerEvent
from foveate_serve.http.schemas.ask import Kind, Value
from foveate_serve.http.schemas.base import Id, Moment, Reply, Wire, to_micros


class EventIn(Wire):
    """One thing that a viewer did."""

    user_id: Id
    item_id: Id
    kind: Kind = Field(description="What was done.")
    value: Value = 1.0
    occurred_at: Moment | None = Field(default=None, description="The time of arrival if left out.")
    event_id: Id | None = Field(
        default=None,
        description="A second event of the viewer with the same id is ignored, so that a request may be sent again. "
        "Made by the server if left out.",
    )
    impression_id: Id | None = Field(default=None, description="The showing that it answers.")
    request_id: Id | None = Field(
        default=None,
        description="The slate that it answers, for a client that keeps no 'impression_id': the item says the place.",
    )
    text: str | None = Field(default=None, max_length=10_000)

    def message(self, now: int, event_id: str | None = None) -> ViewerEvent:
        """Return the event as the store takes it.

        Parameters
        ----------
        now
            The time of arrival, UTC microseconds.
        event_id
            Its id, where it brings none.
        """
        return ViewerEvent(
            user_id=self.user_id,
            item_id=self.item_id,
            kind=self.kind,
            value=self.value,
            occurred_at=now if self.occurred_at is None else to_micros(self.occurred_at),
            event_id=self.event_id or event_id,
            impression_id=self.impression_id,
            text=self.text,
            request_id=self.request_id,
        )


class EventsIn(Wire):
    """Events to keep, all or none."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"events": [{"user_id": "u17", "item_id": "v3", "kind": "like"}]}]}
    )

    events: list[EventIn] = Field(min_length=1, max_length=1000)


class EventsOut(Reply):
    """How many events were new."""

    added: int
    adjusted: int = Field(
        default=0,
        description="How many events were changed to be kept: a value beyond its range became the nearest in it, and a "
        "time more than a day ahead the time of arrival.",
    )
    unknown_items: int | None = Field(
        default=None,
        description="How many of the events are of items that the bundle in use does not know: they are kept, and "
        "count for nothing until a bundle knows the item. Null where there is no bundle.",
    )
    event_ids: list[str] = Field(
        default=[], description="The id of each event, in their order; the server made those that were left out."
    )
