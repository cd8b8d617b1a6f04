"""Impressions and events, derived from cleaned contacts.

Shapes: ``N`` contacts, ``E`` events, ``K`` kinds.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.data.contacts import ROW, SHOWN
from foveate.data.schema import (
    EVENT_KINDS,
    EVENTS,
    IMPRESSIONS,
    KIND,
    KIND_DTYPE,
    OCCURRED_AT,
    ORDER,
    RATE,
    USER_ID,
    VALUE,
    WATCH,
)

_AMOUNTS: Final = (WATCH, RATE)
_CODE: Final = {kind: code for code, kind in enumerate(EVENT_KINDS)}


def impressions_of(contacts: pl.DataFrame) -> pl.DataFrame:
    """Return the contacts that were shown as impressions.

    Parameters
    ----------
    contacts
        Cleaned and sorted by viewer, time and row.
    """
    if SHOWN not in contacts.columns:
        return pl.DataFrame(schema=IMPRESSIONS)
    shown = contacts if contacts[SHOWN].all(ignore_nulls=False) else contacts.filter(SHOWN)
    given: dict[str, pl.Expr | pl.Series] = {
        "impression_id": pl.col(ROW).cast(pl.String),
        "shown_at": pl.col(OCCURRED_AT),
        ORDER: _dense(shown),
    }
    return _select(shown, IMPRESSIONS, given)


def events_of(contacts: pl.DataFrame) -> pl.DataFrame:
    """Return what happened in the contacts, in order; within one contact, in the order of the kinds.

    Parameters
    ----------
    contacts
        Cleaned and sorted by viewer, time and row.
    """
    kinds: list[str] = [kind for kind in EVENT_KINDS if kind in contacts.columns]
    if not kinds:
        return pl.DataFrame(schema=EVENTS)
    rows, places = np.nonzero(_happened(contacts, kinds))
    codes = np.array([_CODE[kind] for kind in kinds], dtype=np.uint32)[places]
    at = contacts[rows]
    shown = pl.col(SHOWN) if SHOWN in contacts.columns else pl.lit(value=False)
    row = pl.col(ROW).cast(pl.Int64)
    given: dict[str, pl.Expr | pl.Series] = {
        "event_id": (row * len(EVENT_KINDS) + pl.Series(codes, dtype=pl.Int64)).cast(pl.String),
        "impression_id": pl.when(shown).then(row.cast(pl.String)),
        KIND: pl.Series(EVENT_KINDS, dtype=KIND_DTYPE).gather(codes),
        VALUE: pl.Series(_values(contacts, rows, codes), nan_to_null=True),
        "received_at": pl.lit(None),
        ORDER: _dense(at),
    }
    return _select(at, EVENTS, given)


def _happened(contacts: pl.DataFrame, kinds: list[str]) -> NDArray[np.bool_]:
    columns = [
        contacts[kind].is_not_null() if kind in _AMOUNTS else contacts[kind].fill_null(value=False) for kind in kinds
    ]
    return np.column_stack([column.to_numpy() for column in columns])


def _values(contacts: pl.DataFrame, rows: NDArray[np.int64], codes: NDArray[np.uint32]) -> NDArray[np.float32]:
    """``[E]``: seconds, stars, else 1; NaN where nobody knows."""
    values = np.ones(len(rows), dtype=np.float32)
    for kind in _AMOUNTS:
        if kind in contacts.columns:
            mine = codes == _CODE[kind]
            values[mine] = contacts[kind].to_numpy()[rows[mine]]
    return values


def _dense(frame: pl.DataFrame) -> pl.Series:
    """``[N]``: 0, 1, 2, ... for each viewer of a frame sorted by viewer."""
    position = np.arange(frame.height, dtype=np.int64)
    new = frame.select((pl.col(USER_ID) != pl.col(USER_ID).shift(1)).fill_null(value=True)).to_series().to_numpy()
    return pl.Series(position - np.maximum.accumulate(np.where(new, position, 0)))


def _select(frame: pl.DataFrame, schema: dict[str, pl.DataType], given: dict[str, pl.Expr | pl.Series]) -> pl.DataFrame:
    columns = []
    for name, dtype in schema.items():
        value = given.get(name, pl.col(name) if name in frame.columns else pl.lit(None))
        value = pl.lit(value) if isinstance(value, pl.Series) else value
        columns.append(value.cast(dtype).alias(name))
    return frame.select(columns)
