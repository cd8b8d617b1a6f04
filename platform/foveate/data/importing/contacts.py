"""Contacts: the one shape that every reader turns its log into.

A contact is one row of a source: a viewer met an item, perhaps on a surface that showed it, and did some of the
things that :data:`foveate.data.schema.EVENT_KINDS` names. Impressions and events are derived from cleaned contacts.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from foveate.data.schema import EVENT_ID, EVENT_KINDS, ITEM_ID, OCCURRED_AT, RATE, TIMESTAMP, USER_ID, VALUE, WATCH

DURATION: Final = "duration"
"""Seconds that the item lasts, by the log's own word; cleaning compares the watch with it."""

ROW: Final = "row"
"""Where a contact stood in its source: breaks ties of time, and is what ids of rows are made of."""

SHOWN: Final = "shown"
"""Whether the contact is an impression as well."""

DID: Final = "did"
"""What happened in a packed contact: a bit for each kind, and one for an impression."""

AMOUNTS: Final = (WATCH, RATE)
"""The kinds that have an amount."""

SHOWN_BIT: Final = 31

CONTACTS: Final[dict[str, pl.DataType]] = {
    USER_ID: pl.String(),
    ITEM_ID: pl.String(),
    OCCURRED_AT: TIMESTAMP,
    SHOWN: pl.Boolean(),
    "surface": pl.String(),
    "position": pl.Int32(),
    "policy_id": pl.String(),
    "propensity": pl.Float64(),
    DURATION: pl.Float32(),
    "text": pl.String(),
    EVENT_ID: pl.String(),
    **{kind: pl.Float32() if kind in (WATCH, RATE) else pl.Boolean() for kind in EVENT_KINDS},
}
"""Columns of a contact; only the two ids are always there.

Of the kinds, ``watch`` holds seconds and ``rate`` stars: null where it did not happen, NaN where it did and nobody
knows how much. The others hold whether they happened.
"""


AS_SERVED: Final[dict[str, pl.DataType]] = {
    "impression_id": pl.String(),
    "request_id": pl.String(),
    "bundle_id": pl.String(),
    "feature_schema": pl.String(),
    "features": pl.List(pl.Float32()),
    "candidate_sources": pl.List(pl.String()),
    "received_at": TIMESTAMP,
    VALUE: pl.Float32(),
}
"""Columns that a contact has beside, where it comes from a log of what Foveate itself has served.

``impression_id`` is that of the impression, or of the one that an event answers; ``value`` is what an event of a kind
that has no amount counts for.
"""


def pack(contacts: pl.DataFrame) -> pl.DataFrame:
    """Return cleaned contacts in the few columns that sorting and deriving need.

    Long logs are moved and sorted in this form: one integer says what happened, and columns that say nothing are
    left out.
    """
    bits = {**{kind: at for at, kind in enumerate(EVENT_KINDS)}, SHOWN: SHOWN_BIT}
    happened = [
        (pl.col(name).is_not_null() if name in AMOUNTS else pl.col(name).fill_null(value=False)).cast(pl.UInt32)
        * (1 << bit)
        for name, bit in bits.items()
        if name in contacts.columns
    ]
    summed = {DURATION, SHOWN, *EVENT_KINDS} - set(AMOUNTS)
    silent = {name for name in contacts.columns if contacts[name].null_count() == contacts.height}
    gone = summed | (silent - {USER_ID, ITEM_ID, ROW})
    kept = [name for name in contacts.columns if name not in gone]
    did = pl.sum_horizontal(happened) if happened else pl.lit(0)
    return contacts.select(*kept, did.cast(pl.UInt32).alias(DID))


def watched_somehow(contacts: pl.DataFrame) -> pl.DataFrame:
    """Return contacts, each a watch whose length nobody knows."""
    return contacts.with_columns(pl.lit(float("nan"), dtype=pl.Float32).alias(WATCH))
