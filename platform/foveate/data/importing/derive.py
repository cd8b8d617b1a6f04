"""Impressions and events, derived from cleaned contacts.

Shapes: ``N`` contacts, ``E`` events, ``K`` kinds.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.data.importing.contacts import AMOUNTS, DID, ROW, SHOWN_BIT
from foveate.data.schema import (
    EVENT_ID,
    EVENT_KINDS,
    EVENTS,
    IMPRESSIONS,
    ITEM_ID,
    KIND,
    KIND_DTYPE,
    OCCURRED_AT,
    ORDER,
    USER_ID,
    VALUE,
)

_ROW_ID = "row_id"
_IMPRESSION_ID = "impression_id"
_EVENT_COLUMNS = (USER_ID, ITEM_ID, OCCURRED_AT, "text", EVENT_ID, ROW, _ROW_ID, _IMPRESSION_ID, "received_at")


def derive(contacts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the impressions and the events of packed contacts.

    An impression is known by the id that its source gave it, else by the row of its contact; an event by its source's
    id, else by that row and its kind. The events of one contact stand in the order of the kinds.

    Parameters
    ----------
    contacts
        Packed (see :func:`foveate.data.importing.contacts.pack`) and sorted by viewer, time and row.
    """
    did = contacts[DID].to_numpy()
    shown = (did >> SHOWN_BIT).astype(bool)
    row_ids = contacts[ROW].cast(pl.String)
    if not shown.all():
        row_ids = pl.select(pl.when(pl.Series(shown)).then(pl.lit(row_ids))).to_series()
    contacts = contacts.with_columns(row_ids.alias(_ROW_ID))
    return _impressions(contacts, shown), _events(contacts, did)


def _impressions(contacts: pl.DataFrame, shown: NDArray[np.bool_]) -> pl.DataFrame:
    at = contacts if shown.all() else contacts.filter(pl.Series(shown))
    columns = {_IMPRESSION_ID: _named(at), "shown_at": _maybe(at, OCCURRED_AT), ORDER: _dense(at)}
    return _table(at, IMPRESSIONS, columns)


def _events(contacts: pl.DataFrame, did: NDArray[np.uint32]) -> pl.DataFrame:
    rows, codes = _happened(did)
    at = contacts.select(name for name in _EVENT_COLUMNS if name in contacts.columns)[rows]
    kinds = pl.Series(EVENT_KINDS, dtype=KIND_DTYPE).gather(pl.Series(codes))
    ids = (at[ROW] * len(EVENT_KINDS) + pl.Series(codes)).cast(pl.String)
    columns = {
        EVENT_ID: _own_ids(at[EVENT_ID], rows, kinds).fill_null(ids) if EVENT_ID in at.columns else ids,
        _IMPRESSION_ID: _named(at),
        KIND: kinds,
        VALUE: pl.Series(_values(contacts, rows, codes), nan_to_null=True),
        ORDER: _dense(at),
    }
    return _table(at, EVENTS, columns)


def _happened(did: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``[E]``: whose row each event is, and its kind's place among all kinds; by row, then by kind."""
    seen = np.bitwise_or.reduce(did) if len(did) else 0
    kinds = np.array([kind for kind in range(len(EVENT_KINDS)) if seen >> kind & 1], dtype=np.int64)
    if not len(kinds):
        return np.empty(0, dtype=np.int64), kinds
    happened_NK = np.empty((len(did), len(kinds)), dtype=bool)
    for place, kind in enumerate(kinds.tolist()):
        np.not_equal(did & np.uint32(1 << kind), 0, out=happened_NK[:, place])
    rows, kind_columns = np.divmod(np.flatnonzero(happened_NK), len(kinds))
    return rows, kinds[kind_columns]


def _values(contacts: pl.DataFrame, rows: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.float32]:
    """``[E]``: seconds, stars, else what the source says or 1; NaN where nobody knows."""
    values = np.ones(len(rows), dtype=np.float32)
    if VALUE in contacts.columns:
        values = contacts[VALUE].fill_null(1.0).to_numpy()[rows].copy()
    for kind in AMOUNTS:
        if kind in contacts.columns:
            mine = codes == EVENT_KINDS.index(kind)
            values[mine] = contacts[kind].to_numpy()[rows[mine]]
    return values


def _named(at: pl.DataFrame) -> pl.Series:
    """``[N]``: the source's ids of impressions, else those of rows."""
    return at[_IMPRESSION_ID].fill_null(at[_ROW_ID]) if _IMPRESSION_ID in at.columns else at[_ROW_ID]


def _own_ids(ids: pl.Series, rows: NDArray[np.int64], kinds: pl.Series) -> pl.Series:
    """``[E]``: the source's ids; where one row is several events, each has its kind behind the row's id."""
    several = pl.Series(np.bincount(rows)[rows] > 1) if len(rows) else pl.Series([], dtype=pl.Boolean)
    return (ids + ":" + kinds.cast(pl.String)).zip_with(several, ids)


def _dense(frame: pl.DataFrame) -> pl.Series:
    """``[N]``: 0, 1, 2, ... for each viewer of a frame sorted by viewer."""
    position = np.arange(frame.height, dtype=np.int64)
    user = frame[USER_ID]
    new = (user != user.shift(1)).fill_null(value=True).to_numpy()
    return pl.Series(position - np.maximum.accumulate(np.where(new, position, 0)))


def _maybe(frame: pl.DataFrame, column: str) -> pl.Series:
    """Return a column, or nulls where packing left it out."""
    return frame[column] if column in frame.columns else pl.Series([None]).new_from_index(0, frame.height)


def _table(at: pl.DataFrame, schema: dict[str, pl.DataType], columns: dict[str, pl.Series]) -> pl.DataFrame:
    given = {name: columns[name] if name in columns else _maybe(at, name) for name in schema}
    return pl.DataFrame([series.cast(schema[name]).alias(name) for name, series in given.items()])
