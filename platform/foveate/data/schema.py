"""Column names and types of the stored tables: the only place where they are written."""

from __future__ import annotations

from typing import Final

import polars as pl

SCHEMA_VERSION: Final = 1
"""Of the dataset folder; a folder of another version is refused."""

USER_ID: Final = "user_id"
ITEM_ID: Final = "item_id"
EVENT_ID: Final = "event_id"
OCCURRED_AT: Final = "occurred_at"
ORDER: Final = "order"
KIND: Final = "kind"
VALUE: Final = "value"

TIMESTAMP: Final = pl.Datetime("us", "UTC")

OF_A_LOG: Final = "log:"
"""How a store names an event of a log that gave it no id: so it begins, and what tells it from others follows. One with
a time has its kind, time, number among equal ones and item; one without has :data:`HASH_LENGTH` digits of the log's
hash and its place there."""
HASH_LENGTH: Final = 16

WATCH: Final = "watch"
LONG_VIEW: Final = "long_view"
RATE: Final = "rate"

EVENT_KINDS: Final = (WATCH, "click", LONG_VIEW, "like", "comment", "follow", "share", "save", RATE, "hide")
"""What a viewer can do.

``value`` is seconds for ``watch``, stars for ``rate``, 1 otherwise. Append only: bundles store positions.
"""

NEGATIVE_KINDS: Final = frozenset({"hide"})

KIND_DTYPE: Final = pl.Enum(EVENT_KINDS)

IMPRESSIONS: Final[dict[str, pl.DataType]] = {
    "impression_id": pl.String(),
    "request_id": pl.String(),
    USER_ID: pl.String(),
    ITEM_ID: pl.String(),
    "position": pl.Int32(),
    "surface": pl.String(),
    "shown_at": TIMESTAMP,
    ORDER: pl.Int64(),
    "bundle_id": pl.String(),
    "policy_id": pl.String(),
    "propensity": pl.Float64(),
    "feature_schema": pl.String(),
    "features": pl.List(pl.Float32()),
    "candidate_sources": pl.List(pl.String()),
}

EVENTS: Final[dict[str, pl.DataType]] = {
    "event_id": pl.String(),
    "impression_id": pl.String(),
    USER_ID: pl.String(),
    ITEM_ID: pl.String(),
    KIND: KIND_DTYPE,
    VALUE: pl.Float32(),
    "text": pl.String(),
    OCCURRED_AT: TIMESTAMP,
    "received_at": TIMESTAMP,
    ORDER: pl.Int64(),
}

ITEMS: Final[dict[str, pl.DataType]] = {
    ITEM_ID: pl.String(),
    "title": pl.String(),
    "channel_id": pl.String(),
    "categories": pl.List(pl.String()),
    "tags": pl.List(pl.String()),
    "duration_seconds": pl.Float32(),
    "published_at": TIMESTAMP,
    "available_from": TIMESTAMP,
    "maturity": pl.Int16(),
    "language": pl.String(),
    "regions": pl.List(pl.String()),
    "safety": pl.Float32(),
}
"""``maturity`` is the least age in years; ``regions`` are where an item may be shown, :data:`EVERYWHERE` for all; and
``safety`` says from 0 to 1 how harmless it is. What is null is not known."""

EVERYWHERE: Final = "*"

VIEWERS: Final[dict[str, pl.DataType]] = {
    USER_ID: pl.String(),
    "attributes": pl.String(),
}
"""``attributes`` is one JSON object: what the source tells of a viewer, kept as published."""

TABLES: Final = {"impressions": IMPRESSIONS, "events": EVENTS, "items": ITEMS, "viewers": VIEWERS}

REQUIRED: Final = {
    "impressions": ("impression_id", USER_ID, ITEM_ID, ORDER),
    "events": ("event_id", USER_ID, ITEM_ID, KIND, ORDER),
    "items": (ITEM_ID,),
    "viewers": (USER_ID,),
}
"""Columns that may hold no null."""


def as_items(frame: pl.DataFrame) -> pl.DataFrame:
    """Return items with every column of the item table, nulls where the source knows nothing."""
    given = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in ITEMS.items()
    ]
    return frame.select(given)
