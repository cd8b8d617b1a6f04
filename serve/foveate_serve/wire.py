"""What goes over HTTP: strict models that refuse an unknown field, with bounds on every size.

Times on the wire are RFC 3339 with an offset; inside they are UTC microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AwareDatetime, ConfigDict, Field, field_validator

from foveate.data.schema import EVENT_KINDS
from foveate.explain import SlateExplanation
from foveate.messages import Filters, RecommendRequest, RequestContext, Slate, SlateItem
from foveate.state.base import ViewerEvent
from foveate.state.impressions import impression_id
from foveate_serve.holder import Status
from foveate_serve.wire_base import Id, Wire
from foveate_serve.wire_explain import ExplanationOut, explanation_out

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FiltersIn(Wire):
    """What must not be shown, beyond what the viewer has already seen."""

    exclude_items: list[Id] = Field(default=[], max_length=1000, description="Items that must not be shown.")
    exclude_channels: list[Id] = Field(default=[], max_length=1000, description="Channels that must not be shown.")
    languages: list[Id] = Field(default=[], max_length=100, description="Allowed languages; empty allows all.")
    max_maturity: Annotated[int, Field(ge=0, le=99)] | None = Field(
        default=None, description="Highest minimum age in years; an item of unknown maturity is then not shown."
    )
    region: Id | None = Field(
        default=None, description="Where the viewer is; an item that does not name it, or '*', is then not shown."
    )

    def message(self) -> Filters:
        """Return the filters as the pipeline reads them."""
        return Filters(
            exclude_items=tuple(self.exclude_items),
            exclude_channels=tuple(self.exclude_channels),
            languages=tuple(self.languages),
            max_maturity=self.max_maturity,
            region=self.region,
        )


class AskIn(Wire):
    """What a slate is asked for with."""

    user_id: Id = Field(description="The viewer; an unknown one gets a cold slate.")
    k: int = Field(default=10, ge=1, le=100, description="How many items.")
    surface: str = Field(default="home", min_length=1, max_length=64, description="Where the slate is shown.")
    filters: FiltersIn = FiltersIn()
    # JSON has no dates: strict mode would refuse every text.
    now: AwareDatetime | None = Field(
        default=None, strict=False, description="The moment to answer for; the server's clock where it is left out."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        default=None, description="Seed of whatever is random; drawn, and kept, where it is left out."
    )

    @field_validator("now")
    @classmethod
    def _in_range(cls, now: datetime | None) -> datetime | None:
        if now is not None and not 1970 <= now.year <= 2200:
            raise ValueError("must lie between the years 1970 and 2200")
        return now

    def message(self) -> RecommendRequest:
        """Return the request as the pipeline reads it."""
        return RecommendRequest(
            user_id=self.user_id,
            k=self.k,
            surface=self.surface,
            filters=self.filters.message(),
            now=None if self.now is None else to_micros(self.now),
            seed=self.seed,
        )


class RecommendIn(AskIn):
    """Asks a slate for one viewer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "u17", "k": 10},
                {"user_id": "u17", "k": 5, "surface": "after_watch", "filters": {"max_maturity": 12}, "seed": 1},
            ]
        }
    )

    explain: bool = Field(default=False, description="Say why each item stands in the slate; takes longer.")


class WhyNotIn(AskIn):
    """Asks why an item is not in a viewer's slate."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "u17", "item_id": "v3"}]})

    item_id: Id = Field(description="The item, of the catalogue or not.")


class ItemOut(Wire):
    """One item of the catalogue."""

    item_id: str
    title: str | None
    channel_id: str | None
    categories: list[str]
    tags: list[str]
    duration_seconds: float | None
    published_at: datetime | None
    maturity: int | None
    language: str | None


class SlateItemOut(Wire):
    """One place of a slate and where it came from."""

    item_id: str
    impression_id: str = Field(description="Name it in the events that answer this showing.")
    position: int = Field(description="From 0.")
    score: float | None = Field(description="The ranker's score; null where it was not finite.")
    sources: list[str] = Field(description="The candidate sources that had it among their best.")
    title: str | None
    channel_id: str | None
    explanation: ExplanationOut | None = Field(default=None, description="Where 'explain' asked for it.")


class SlateOut(Wire):
    """The answer to one request, with all that remakes it."""

    request_id: str
    user_id: str
    bundle_id: str
    policy_id: str
    feature_schema: str
    state_version: int = Field(description="Version of the history that was read; 0 for a viewer with none.")
    cold: bool = Field(description="Whether the viewer had no history.")
    now: datetime
    seed: int
    relaxed: list[str] = Field(description="Soft rules that were given up, in that order.")
    relevance_paid: float | None = Field(description="Mean score given up for diversity and constraints.")
    items: list[SlateItemOut]


class EventIn(Wire):
    """One thing that a viewer did."""

    user_id: Id
    item_id: Id
    kind: Literal[EVENT_KINDS] = Field(description="What was done.")  # type: ignore[valid-type]
    value: float = Field(default=1.0, description="Seconds for 'watch', stars for 'rate', 1 otherwise.")
    occurred_at: AwareDatetime | None = Field(
        default=None, strict=False, description="The time of arrival if left out."
    )
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


class EventsOut(Wire):
    """How many events were new."""

    added: int


class LiveOut(Wire):
    """The process answers."""

    status: Literal["live"] = "live"


class PartOut(Wire):
    """What one replica holds."""

    deployment: str
    bundle_id: str | None
    previous: str | None
    problem: str | None = Field(description="Why the last bundle it was told to load is not in use.")
    refused: bool = Field(description="Whether it tried to load that bundle and could not.")


class ReadyOut(Wire):
    """Whether requests can be answered, and by which bundle."""

    ready: bool
    bundle_id: str | None
    parts: list[PartOut]


class Fault(Wire):
    """What went wrong, for a program (``code``) and for a person (``message``)."""

    code: str
    message: str


class ErrorOut(Wire):
    """Every answer that is not a success."""

    error: Fault


def to_micros(moment: datetime) -> int:
    """Return UTC microseconds since 1970, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Return the moment of UTC microseconds since 1970."""
    return EPOCH + timedelta(microseconds=micros)


def ready_out(parts: Sequence[Status]) -> ReadyOut:
    """Say whether every replica holds a bundle that the ingress, the first of ``parts``, can ask by."""
    ingress = parts[0]
    askable = {ingress.bundle_id, ingress.previous} - {None}
    shared = [bool(askable & {part.bundle_id, part.previous}) for part in parts]
    return ReadyOut(
        ready=all(shared),
        bundle_id=ingress.bundle_id,
        parts=[PartOut(**asdict(part)) for part in parts],
    )


def item_out(row: dict[str, Any]) -> ItemOut:
    """Build an item from a row of the catalogue."""
    fields = {name: row[name] for name in ItemOut.model_fields}
    return ItemOut(**{**fields, "categories": row["categories"] or [], "tags": row["tags"] or []})


def slate_out(
    slate: Slate, context: RequestContext, rows: Sequence[dict[str, Any]], explained: SlateExplanation | None = None
) -> SlateOut:
    """Build the answer; ``rows`` are the catalogue's, one an item of the slate."""
    told = [explanation_out(one) for one in explained.items] if explained else [None] * len(slate.items)
    return SlateOut(
        request_id=slate.request_id,
        user_id=slate.user_id,
        bundle_id=slate.bundle_id,
        policy_id=slate.policy_id,
        feature_schema=slate.feature_schema,
        state_version=slate.state_version,
        cold=slate.state_version == 0,
        now=from_micros(context.now),
        seed=context.seed,
        relaxed=list(slate.relaxed),
        relevance_paid=slate.relevance_paid,
        items=[_slate_item(slate.request_id, *one) for one in zip(slate.items, rows, told, strict=True)],
    )


def _slate_item(
    request_id: str, item: SlateItem, row: dict[str, Any], explanation: ExplanationOut | None
) -> SlateItemOut:
    return SlateItemOut(
        item_id=item.item_id,
        impression_id=impression_id(request_id, item.position),
        position=item.position,
        score=item.score if np.isfinite(item.score) else None,
        sources=list(item.sources),
        title=row["title"],
        channel_id=row["channel_id"],
        explanation=explanation,
    )
