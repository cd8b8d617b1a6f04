"""What is told over HTTP of viewers."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from foveate.state.base import ViewerEvent
from foveate_serve.wire.ask import Kind, Value
from foveate_serve.wire.base import Id, Moment, Reply, Wire, to_micros


class EventIn(Wire):
    """One thing that a viewer did."""

    user_id: Id
    item_id: Id
    kind: Kind = Field(description="What was done.")
    value: Value = 1.0
    occurred_at: Moment | None = Field(default=None, description="The time of arrival if left out.")
    event_id: Id | None = Field(default=None, description="A second event of the same id is ignored.")
    impression_id: Id | None = Field(default=None, description="The showing that it answers.")
    text: str | None = Field(default=None, max_length=10_000)

    def message(self, now: int) -> ViewerEvent:
        """Return the event as the store takes it; ``now`` is the time of arrival, UTC microseconds."""
        return ViewerEvent(
            user_id=self.user_id,
            item_id=self.item_id,
            kind=self.kind,
            value=self.value,
            occurred_at=now if self.occurred_at is None else to_micros(self.occurred_at),
            event_id=self.event_id,
            impression_id=self.impression_id,
            text=self.text,
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
