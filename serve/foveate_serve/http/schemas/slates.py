"""Schemas of answers: slates, items of the catalogue, surfaces."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from foveate_serve.http.schemas.base import Reply
from foveate_serve.http.schemas.explain import ExplanationOut


class ItemOut(Reply):
    """One item of the catalogue."""

    item_id: str
    title: str | None
    channel_id: str | None
    categories: list[str]
    tags: list[str]
    duration_seconds: float | None
    published_at: datetime | None
    available_from: datetime | None = None
    maturity: int | None
    language: str | None
    withdrawn: bool = Field(default=False, description="Whether it is in no slate any more.")


class SlateItemOut(Reply):
    """One place of a slate and where it came from."""

    item_id: str
    impression_id: str = Field(description="Name it in the events that answer this showing.")
    rank: int = Field(description="Its place in this answer, from 1.")
    score: float | None = Field(
        description="The ranker's score, or the sources' own where no ranker took part; null where it was not finite."
    )
    source: str | None = Field(description="The first of 'sources'.")
    sources: list[str] = Field(description="The candidate sources that had it among their best, in the recipe's order.")
    policy: str | None = Field(
        default=None, description="The slot policy that drew the item, with its settings; null where none did."
    )
    propensity: float | None = Field(
        default=None,
        description="The probability that the item had at its place given the places above; null where the place was "
        "not explored, and where the request named its seed.",
    )
    title: str | None
    channel_id: str | None
    explanation: ExplanationOut | None = Field(default=None, description="Where 'explain' or the surface asked for it.")


class SlateOut(Reply):
    """The answer to one request, with all that remakes it."""

    request_id: str
    user_id: str | None = Field(description="Null for an anonymous visitor.")
    surface: str
    bundle_id: str
    policy_id: str
    feature_schema: str
    state_version: int = Field(description="Version of the history that was read; 0 for a viewer with none.")
    cold: bool = Field(description="Whether nothing was known of who asks.")
    now: datetime
    seed: int
    degraded: list[str] = Field(
        description="What stood in for a stage that was lost or slow, and 'coverage_0.67' where that share of the "
        "catalogue is all that could be searched; empty if all was well."
    )
    explored: list[int] = Field(default=[], description="The places that were drawn, by their 'rank'.")
    relaxed: list[str] = Field(description="Soft rules that were given up, in that order.")
    relevance_paid: float | None = Field(description="Mean score given up for diversity and constraints.")
    took_ms: float = Field(description="Milliseconds from the parsed request to this answer, on the server.")
    items: list[SlateItemOut]
    note: str | None = Field(default=None, description="Why there are no items; null where there are some.")
    cursor: str | None = Field(description="For the next page, which repeats no item; null where nothing is left.")


class SurfaceOut(Reply):
    """A surface that a request can name."""

    name: str
    about: str
    needs: list[str] = Field(description="Fields of the request without which it has nothing to start from.")
    takes: list[str] = Field(
        description="Of 'user_id', 'history', 'related_to' and 'likes', those that it reads beside."
    )
    ranked: bool = Field(description="Whether the ranker orders its items.")
    diversified: bool = Field(description="Whether the diversity policy chooses among them.")
    explained: bool = Field(description="Whether it explains its items unless it is asked not to.")


class SurfacesOut(Reply):
    """The surfaces that a request can name."""

    surfaces: list[SurfaceOut]
