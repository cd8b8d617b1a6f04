"""Schemas of the shadow."""

from __future__ import annotations

from pydantic import Field

from foveate_serve.http.schemas.base import Reply


class DifferenceOut(Reply):
    """One request, answered twice."""

    request_id: str
    overlap: float = Field(description="Share of the longer slate's items that both have.")
    score: float | None = Field(description="Mean absolute difference of the scores of items in both.")
    served: tuple[str, ...] = Field(strict=False)
    shadow: tuple[str, ...] = Field(strict=False)


class ShadowOut(Reply):
    """How the shadow's slates differ from those that were served, over the newest that were compared."""

    bundle_id: str | None
    problem: str | None = Field(description="Why the shadow's bundle is not in use.")
    compared: int
    failed: int
    same: int = Field(description="How many slates were equal, item by item.")
    overlap: float | None = Field(description="Mean share of items that both slates have.")
    score_difference: float | None
    took_ms: float | None
    shadow_took_ms: float | None
    worst: list[DifferenceOut] = Field(description="Those with the least overlap.")
