"""The items as arrays by item code: what features, filters and diversity read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from foveate.core.messages import NO_TIME, Filters
from foveate.core.once import Once
from foveate.data.schema import EVERYWHERE, ITEM_ID, ITEMS
from foveate.data.vocabulary import UNKNOWN, Vocabulary

_DAY = 86_400e6
"""Microseconds."""


class Catalog(Once):
    """The item table, in the order of the item vocabulary.

    Parameters
    ----------
    frame
        Columns of :data:`foveate.data.schema.ITEMS`; row ``i`` is the item of code ``i``. A column that is absent, as
        from data of an older Foveate, holds nothing.
    appended
        How many of the last rows came after training; see :class:`~foveate.data.overlay.CatalogOverlay`.
    withdrawn
        ``[I]`` bool: which items are in no slate any more; None where none is withdrawn.
    """

    def __init__(self, frame: pl.DataFrame, *, appended: int = 0, withdrawn: NDArray[np.bool_] | None = None) -> None:
        absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in ITEMS.items() if name not in frame.columns]
        self.frame = frame.with_columns(absent)
        self.items = Vocabulary(frame[ITEM_ID])
        self.appended = appended
        self.withdrawn = withdrawn

    def __len__(self) -> int:
        return self.frame.height

    @cached_property
    def channels(self) -> Vocabulary:
        """Channel ids by channel code."""
        return Vocabulary(self.frame["channel_id"].drop_nulls())

    @cached_property
    def channel(self) -> NDArray[np.int32]:
        """``[I]`` channel code, ``UNKNOWN`` where none is given."""
        return self.channels.encode(self.frame["channel_id"])

    @cached_property
    def category_names(self) -> Vocabulary:
        """Category names by category code."""
        return Vocabulary(self.frame["categories"].explode().drop_nulls())

    @cached_property
    def tag_names(self) -> Vocabulary:
        """Tag names by tag code."""
        return Vocabulary(self.frame["tags"].explode().drop_nulls())

    @cached_property
    def categories(self) -> sparse.csr_matrix:
        """``[I, C]`` bool: which categories an item has."""
        return self._membership("categories", self.category_names)

    @cached_property
    def tags(self) -> sparse.csr_matrix:
        """``[I, T]`` bool: which tags an item has."""
        return self._membership("tags", self.tag_names)

    @cached_property
    def main_category(self) -> NDArray[np.int32]:
        """``[I]`` code of an item's first category, ``UNKNOWN`` where it has none."""
        return self.category_names.encode(self.frame["categories"].list.first())

    @cached_property
    def duration(self) -> NDArray[np.float32]:
        """``[I]`` seconds, NaN where unknown."""
        return self.frame["duration_seconds"].cast(pl.Float32).fill_null(float("nan")).to_numpy()

    @cached_property
    def safety(self) -> NDArray[np.float32]:
        """``[I]`` from 0 to 1 how harmless an item is, NaN where unknown."""
        return self.frame["safety"].cast(pl.Float32).clip(0.0, 1.0).fill_null(float("nan")).to_numpy()

    @cached_property
    def published_at(self) -> NDArray[np.int64]:
        """``[I]`` UTC microseconds, ``NO_TIME`` where unknown."""
        return self.frame["published_at"].dt.timestamp("us").fill_null(NO_TIME).to_numpy()

    def age_days(self, items: NDArray[np.int32], now: int) -> NDArray[np.float32]:
        """Days since ``items`` were published at ``now`` (microseconds or ``NO_TIME``), NaN where either is unknown."""
        published = self.published_at[items]
        days = (np.float64(now) - published.astype(np.float64)) / _DAY
        return np.where((published != NO_TIME) & (now != NO_TIME), days, np.nan).astype(np.float32)

    @cached_property
    def channel_standing(self) -> NDArray[np.float32]:
        """``[I]``: the share of all channels that hold fewer items than an item's own, NaN where it has none."""
        sizes = np.bincount(self.channel[self.channel != UNKNOWN], minlength=len(self.channels))
        standing = np.searchsorted(np.sort(sizes), sizes) / max(1, len(sizes))
        return np.append(standing, np.nan)[self.channel].astype(np.float32)

    @cached_property
    def available_from(self) -> NDArray[np.int64]:
        """``[I]`` UTC microseconds, ``NO_TIME`` where an item was always available."""
        return self.frame["available_from"].dt.timestamp("us").fill_null(NO_TIME).to_numpy()

    def shown(self, item_ids: Sequence[str]) -> list[tuple[str | None, str | None]]:
        """Return title and channel of items, None for those that the catalogue does not hold."""
        codes = self.items.encode(item_ids)
        rows = self._shown[np.maximum(codes, 0)].rows() if len(self) else [(None, None)] * len(codes)
        return [row if code != UNKNOWN else (None, None) for row, code in zip(rows, codes.tolist(), strict=True)]

    @cached_property
    def _shown(self) -> pl.DataFrame:
        return self.frame.select("title", "channel_id")

    def forbidden(self, filters: Filters, now: int) -> NDArray[np.bool_]:
        """``[I]`` bool: what ``filters`` forbid or is not yet available at ``now`` (microseconds or ``NO_TIME``)."""
        out = np.zeros(len(self), dtype=bool)
        for _, shut_I in self.shut(filters, now):
            out |= shut_I
        return out

    def shut(self, filters: Filters, now: int) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Yield the name of each rule that shuts items out, with ``[I]`` bool which ones; see :meth:`forbidden`."""
        if self.withdrawn is not None:
            yield "withdrawn", self.withdrawn
        # NO_TIME is a clock that is order only: nothing can be said to lie in its future.
        if now != NO_TIME:
            yield "not_available", self.available_from > now
        if filters.exclude_items:
            yield "excluded_item", np.isin(np.arange(len(self)), self.items.encode(filters.exclude_items))
        if filters.exclude_channels:
            shut_I = np.isin(self.channel, self.channels.encode(filters.exclude_channels))
            yield "excluded_channel", shut_I & (self.channel != UNKNOWN)
        if filters.languages:
            own = self.frame["language"]
            yield "language", _unless(own.is_in(filters.languages))
        if filters.max_maturity is not None:
            yield (
                "maturity",
                _unless(self.frame["maturity"] <= filters.max_maturity),
            )
        if filters.region is not None:
            yield "region", ~self._shown_in(filters.region)
        if filters.shown_before:
            yield "shown_before", np.isin(self.marks, np.array(filters.shown_before, dtype=np.uint32))

    @cached_property
    def marks(self) -> NDArray[np.uint32]:
        """``[I]``: the mark of each item; see :func:`marks_of`."""
        return marks_of(self.items.ids)

    def _shown_in(self, region: str) -> NDArray[np.bool_]:
        """``[I]``: which items say that they may be shown there."""
        own = self.frame["regions"]
        return (own.list.contains(region) | own.list.contains(EVERYWHERE)).fill_null(value=False).to_numpy()

    def _membership(self, column: str, names: Vocabulary) -> sparse.csr_matrix:
        lists = self.frame[column].fill_null([])
        counts = lists.list.len().to_numpy()
        flat = lists.explode(empty_as_null=False) if counts.sum() else pl.Series([], dtype=pl.String)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        codes = names.encode(flat)
        return sparse.csr_matrix((np.ones(len(codes), dtype=bool), codes, indptr), shape=(len(self), len(names)))


def marks_of(item_ids: Sequence[str]) -> NDArray[np.uint32]:
    """Return ``[N]`` numbers that stand for items whatever the bundle, where their codes would not.

    CRC-32: two ids rarely share one, and ids that differ within four neighbouring bytes never do.
    """
    return np.array([zlib.crc32(item_id.encode()) for item_id in item_ids], dtype=np.uint32)


def _unless(allowed_I: pl.Series) -> NDArray[np.bool_]:
    """Return where a column does not say yes."""
    return np.asarray(~allowed_I.fill_null(value=False).to_numpy())


@dataclass(frozen=True)
class Rows:
    """The stored entries of some rows.

    Parameters
    ----------
    count
        ``N``, how many rows were chosen.
    row, column
        ``[E]``: where an entry stands, its row counted among the chosen ones.
    value
        ``[E]`` its value.
    """

    count: int
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.generic]

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, chosen: NDArray[np.integer]) -> Rows:
        """Read rows, in the order given; one may be chosen twice."""
        start, lengths = matrix.indptr[chosen], matrix.indptr[chosen + 1] - matrix.indptr[chosen]
        row = np.repeat(np.arange(len(chosen)), lengths)
        within = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        entry = np.repeat(start, lengths) + within
        return cls(len(chosen), row, matrix.indices[entry].astype(np.int64), matrix.data[entry])

    def used(self) -> NDArray[np.int64]:
        """``[U]``: the columns that hold an entry, ascending."""
        return np.unique(self.column)

    def dense(self, columns: NDArray[np.integer]) -> NDArray[np.generic]:
        """``[N, U]``: the rows over these columns, which are ascending and hold all that are used."""
        out = np.zeros((self.count, len(columns)), dtype=self.value.dtype)
        out[self.row, np.searchsorted(columns, self.column)] = self.value
        return out

    def sums(self, width: int) -> NDArray[np.float64]:
        """``[C]``: the sum of each column."""
        return np.asarray(np.bincount(self.column, self.value.astype(np.float64), width), dtype=np.float64)
