"""A table of events out of a log as rows that a store takes: each with the id by which it is known again.

An event's own id stands where the log has one. An event with a time is known by its viewer, item, kind and time, and
its number among equal ones: two exports that overlap name it alike. A log of order alone cannot say which of its
events another one repeats: such an event is known by the log's hash and its place there.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from foveate.core.errors import SchemaError
from foveate.data.schema import (
    EVENT_ID,
    EVENT_KINDS,
    HASH_LENGTH,
    ITEM_ID,
    KIND,
    OCCURRED_AT,
    OF_A_LOG,
    ORDER,
    USER_ID,
    VALUE,
)

_EQUAL: Final = "equal_before"
COLUMNS: Final = (USER_ID, ITEM_ID, KIND, VALUE, OCCURRED_AT, EVENT_ID, "impression_id", "text", "request_id")
"""Of the rows, in the order of the fields of :class:`~foveate.state.base.ViewerEvent`."""


def event_rows(events: pl.DataFrame | pl.LazyFrame, source: str = "", most: int | None = None) -> pl.DataFrame:
    """Return the rows of a table of events, each viewer's together and in their order, no id of a viewer twice.

    Parameters
    ----------
    events
        Columns of :data:`foveate.data.schema.EVENTS`; ``user_id``, ``item_id``, ``kind`` and ``order`` must be there.
    source
        The log's hash, by which events without a time and an id are known.
    most
        Most rows of a viewer, the newest ones; None takes all.

    Returns
    -------
    pl.DataFrame
        :data:`COLUMNS`; ``occurred_at`` is UTC microseconds or null, ``event_id`` is never null.

    Raises
    ------
    SchemaError
        A needed column is missing.
    """
    lazy = events.lazy()
    columns = lazy.collect_schema().names()
    missing = [name for name in (USER_ID, ITEM_ID, KIND, ORDER) if name not in columns]
    if missing:
        raise SchemaError("events", [f"column '{name}' is missing" for name in missing])
    absent = [pl.lit(None).alias(name) for name in (*COLUMNS, OCCURRED_AT) if name not in columns]
    time = pl.col(OCCURRED_AT).dt.timestamp("us") if OCCURRED_AT in columns else pl.lit(None, dtype=pl.Int64)
    rows = (
        lazy.with_columns(absent)
        .with_columns(time.alias(OCCURRED_AT), pl.col(KIND).cast(pl.String), pl.col(EVENT_ID).cast(pl.String))
        .sort(USER_ID, ORDER)
        .collect()
    )
    rows = rows.with_columns(_equal_before(rows)).select(
        USER_ID,
        ITEM_ID,
        KIND,
        pl.col(VALUE).cast(pl.Float64).fill_nan(None).fill_null(1.0),
        OCCURRED_AT,
        pl.coalesce(EVENT_ID, _named(source)),
        pl.col("impression_id").cast(pl.String),
        pl.col("text").cast(pl.String),
        pl.col("request_id").cast(pl.String),
    )
    if EVENT_ID in columns:
        rows = rows.unique([USER_ID, EVENT_ID], keep="first", maintain_order=True)
    # A filter copies: it is spared where it would drop nothing.
    if most is not None and rows.height and rows[USER_ID].rle().struct.field("len").max() > most:  # type: ignore[operator] # a count
        rows = rows.filter(pl.int_range(pl.len()).over(USER_ID) + most >= pl.len().over(USER_ID).cast(pl.Int64))
    return rows


def log_event_id(kind: str, occurred_at: int, number: int, item_id: str) -> str:
    """Return the id of an event with a time: ``number`` counts equal ones of its viewer from 0."""
    return f"{OF_A_LOG}{EVENT_KINDS.index(kind)}:{occurred_at}:{number}:{item_id}"


def _equal_before(rows: pl.DataFrame) -> pl.Series:
    """``[N]``: how many rows before each one are of the same viewer, item, kind and time."""
    same = (USER_ID, ITEM_ID, KIND, OCCURRED_AT)
    count = np.zeros(rows.height, dtype=np.int64)
    # To find those that may have equals takes less time and memory than to number all rows.
    timed = pl.col(OCCURRED_AT).is_not_null()
    twice = rows.select(timed & pl.struct(USER_ID, OCCURRED_AT).is_duplicated()).to_series().to_numpy()
    if twice.any():
        count[twice] = rows.filter(twice).select(pl.int_range(pl.len()).over(same)).to_series().to_numpy()
    return pl.Series(_EQUAL, count)


def _named(source: str) -> pl.Expr:
    codes = pl.col(KIND).replace_strict({kind: str(code) for code, kind in enumerate(EVENT_KINDS)}, default="")
    by_time = pl.format(f"{OF_A_LOG}{{}}:{{}}:{{}}:{{}}", codes, OCCURRED_AT, _EQUAL, ITEM_ID)
    by_order = pl.format(f"{OF_A_LOG}{source[:HASH_LENGTH]}:{{}}", ORDER)
    return pl.when(pl.col(OCCURRED_AT).is_null()).then(by_order).otherwise(by_time).alias(EVENT_ID)
