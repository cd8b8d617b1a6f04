"""Columns of the parts of a served log: the only place where they are written."""

from __future__ import annotations

from typing import Final, Literal

import polars as pl

from foveate.data.schema import EVENT_ID, ITEM_ID, KIND, OCCURRED_AT, TIMESTAMP, USER_ID, VALUE

Table = Literal["impressions", "events"]

SEQUENCE: Final = "sequence"
"""Grows with every request, or every event, that the store took: the order of arrival, whatever clocks say."""

SHOWN: Final[dict[str, pl.DataType]] = {
    "impression_id": pl.String(),
    "request_id": pl.String(),
    USER_ID: pl.String(),
    ITEM_ID: pl.String(),
    "position": pl.Int32(),
    "surface": pl.String(),
    "shown_at": TIMESTAMP,
    "kept_at": TIMESTAMP,
    SEQUENCE: pl.Int64(),
    "bundle_id": pl.String(),
    "arm": pl.String(),
    "policy_id": pl.String(),
    "policy": pl.String(),
    "propensity": pl.Float64(),
    "feature_schema": pl.String(),
    "features": pl.List(pl.Float32()),
    "candidate_sources": pl.List(pl.String()),
    "score": pl.Float64(),
    "state_version": pl.Int64(),
    "degraded": pl.List(pl.String()),
}
"""One row an item of a slate; ``user_id`` is null for an anonymous visitor.

``policy_id`` is the slate's policy, ``policy`` the randomised policy that filled the place and ``propensity`` the odds
that it put this item there: both null where the place was deterministic. ``shown_at`` is the moment that the request
was answered for, ``kept_at`` the store's clock.
"""

FOLLOWED: Final[dict[str, pl.DataType]] = {
    EVENT_ID: pl.String(),
    "impression_id": pl.String(),
    "joined_by": pl.String(),
    "request_id": pl.String(),
    USER_ID: pl.String(),
    ITEM_ID: pl.String(),
    KIND: pl.String(),
    VALUE: pl.Float64(),
    "text": pl.String(),
    OCCURRED_AT: TIMESTAMP,
    "received_at": TIMESTAMP,
    SEQUENCE: pl.Int64(),
}
"""One row an event; ``impression_id`` is the showing that it answers, and ``joined_by`` says how that is known:
``impression_id`` or ``request_id`` of the event itself, or ``time``."""

COLUMNS: Final[dict[Table, dict[str, pl.DataType]]] = {"impressions": SHOWN, "events": FOLLOWED}
