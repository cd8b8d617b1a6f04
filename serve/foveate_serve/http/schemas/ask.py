"""Schemas of requests: strict models that refuse an unknown field, with bounds on every size."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from foveate.core.messages import Filters, Likes, PastEvent, RecommendRequest
from foveate.data.schema import EVENT_KINDS
from foveate_serve.http.schemas.base import Id, Moment, Wire, to_micros

LONGEST_HISTORY = 1000
"""Events of a session that a request may bring."""
LONGEST_CURSOR = 8000
LARGEST_SLATE = 100

Kind = Literal[EVENT_KINDS]  # type: ignore[valid-type]
Value = Annotated[float, Field(ge=-1e9, le=1e9, description="Seconds for 'watch', stars for 'rate', 1 otherwise.")]


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


class PastEventIn(Wire):
    """One thing that an anonymous visitor did in this session."""

    item_id: Id
    kind: Kind | None = Field(default=None, description="What was done; interest of any kind where it is left out.")
    value: Value = 1.0
    occurred_at: Moment | None = None

    def message(self) -> PastEvent:
        """Return the event as the pipeline reads it."""
        when = None if self.occurred_at is None else to_micros(self.occurred_at)
        return PastEvent(self.item_id, self.kind, self.value, when)


class LikesIn(Wire):
    """What somebody says that they like, as when they sign up."""

    items: list[Id] = Field(default=[], max_length=100, description="Items.")
    channels: list[Id] = Field(default=[], max_length=100, description="Channels, by their ids.")
    categories: list[Id] = Field(default=[], max_length=100, description="Categories.")
    tags: list[Id] = Field(default=[], max_length=100, description="Tags.")

    def message(self) -> Likes:
        """Return the likes as the pipeline reads them."""
        return Likes(tuple(self.items), tuple(self.channels), tuple(self.categories), tuple(self.tags))


class AskIn(Wire):
    """What a slate is asked for with: who asks, on which surface, and what must not be shown."""

    user_id: Id | None = Field(
        default=None, description="The viewer; one who is not known gets a cold slate. Left out for an anonymous one."
    )
    history: list[PastEventIn] | None = Field(
        default=None,
        max_length=LONGEST_HISTORY,
        description="What an anonymous visitor has done in this session, oldest first; in place of 'user_id'.",
    )
    likes: LikesIn | None = Field(
        default=None,
        description="What who asks says that they like. It counts before all that is known of them; with the surface "
        "'session' it may stand in place of 'history'.",
    )
    surface: str = Field(
        default="home", min_length=1, max_length=64, description="Where the slate is shown: one of GET /v1/surfaces."
    )
    related_to: Id | None = Field(default=None, description="The video of the surface 'related'.")
    k: int = Field(default=10, ge=1, le=LARGEST_SLATE, description="How many items.")
    filters: FiltersIn = Field(default_factory=FiltersIn)
    diversity: Annotated[float, Field(ge=0.0, le=1.0)] | None = Field(
        default=None,
        description="Strength of the diversity policy, from 0 (relevance alone) to 1, in place of the recipe's; "
        "refused where the policy or the surface has none.",
    )
    now: Moment | None = Field(
        default=None, description="The moment to answer for; the server's clock where it is left out."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        default=None, description="Seed of whatever is random; drawn, and kept, where it is left out."
    )
    deadline_ms: Annotated[int, Field(ge=1, le=3_600_000)] | None = Field(
        default=None,
        description="Milliseconds after which an answer is of no use. It can only shorten the server's own deadline.",
    )

    def message(self) -> RecommendRequest:
        """Return the request as the pipeline reads it."""
        return RecommendRequest(
            user_id=self.user_id or "",
            k=self.k,
            surface=self.surface,
            filters=self.filters.message(),
            now=None if self.now is None else to_micros(self.now),
            seed=self.seed,
            history=self._history(),
            related_to=self.related_to,
            diversity=self.diversity,
            deadline_ms=self.deadline_ms,
            likes=None if self.likes is None else self.likes.message(),
        )

    def _history(self) -> tuple[PastEvent, ...] | None:
        if self.history is not None:
            return tuple(event.message() for event in self.history)
        # A visitor who says what they like has a session without events.
        return () if self.likes is not None and self.user_id is None and self.surface == "session" else None


class RecommendIn(AskIn):
    """Asks a slate."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "u17", "k": 10},
                {"user_id": "u17", "k": 5, "filters": {"max_maturity": 12}, "diversity": 0.5, "seed": 1},
                {"surface": "related", "related_to": "v3", "k": 5},
                {"surface": "session", "history": [{"item_id": "v3"}, {"item_id": "v7", "kind": "like"}]},
                {"surface": "session", "likes": {"items": ["v3"], "categories": ["science"]}},
            ]
        }
    )

    explain: bool | None = Field(
        default=None,
        description="Say why each item stands in the slate; takes longer. Where it is left out, the surface decides.",
    )
    cursor: str | None = Field(
        default=None,
        max_length=LONGEST_CURSOR,
        description="The next page: what the page before gave as 'cursor'. All but 'k', 'explain' and 'deadline_ms' "
        "stays as it was.",
    )


class WhyNotIn(AskIn):
    """Asks why an item is not in a slate."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "u17", "item_id": "v3"}]})

    item_id: Id = Field(description="The item, of the catalogue or not.")
