"""Schemas of changes of the catalogue."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from foveate.state.items import CatalogItem
from foveate_serve.http.schemas.base import Id, Moment, Reply, Wire, to_micros

Name = Annotated[str, Field(min_length=1, max_length=256)]


class ItemFactsIn(Wire):
    """What is known of an item; what is left out is not known."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "How kites fly", "channel_id": "c7", "categories": ["science"]}]}
    )

    title: str | None = Field(default=None, max_length=10_000)
    channel_id: Name | None = None
    categories: list[Name] | None = Field(default=None, max_length=100)
    tags: list[Name] | None = Field(default=None, max_length=100)
    duration_seconds: float | None = Field(default=None, ge=0)
    published_at: Moment | None = None
    available_from: Moment | None = Field(default=None, description="Until then it is in no slate.")
    maturity: int | None = Field(default=None, ge=0, le=99, description="The least age in years.")
    language: Name | None = None
    regions: list[Name] | None = Field(default=None, max_length=300, description="Where it may be shown; '*' for all.")
    safety: float | None = Field(default=None, ge=0, le=1, description="How harmless it is, from 0 to 1.")

    def message(self, item_id: str) -> CatalogItem:
        """Return the item as the store takes it."""
        return CatalogItem(
            item_id=item_id,
            title=self.title,
            channel_id=self.channel_id,
            categories=_tuple(self.categories),
            tags=_tuple(self.tags),
            duration_seconds=self.duration_seconds,
            published_at=None if self.published_at is None else to_micros(self.published_at),
            available_from=None if self.available_from is None else to_micros(self.available_from),
            maturity=self.maturity,
            language=self.language,
            regions=_tuple(self.regions),
            safety=self.safety,
        )


class ItemIn(ItemFactsIn):
    """One item with its id."""

    item_id: Id


class ItemsIn(Wire):
    """Items to add or replace, all or none."""

    items: list[ItemIn] = Field(min_length=1, max_length=1000)


class ItemsOut(Reply):
    """A change of the catalogue that is kept; it is in the answers of every replica within 2 seconds."""

    items: int = Field(description="How many items were put or withdrawn.")
    version: int = Field(description="The version of the catalogue with the change.")


def _tuple(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
