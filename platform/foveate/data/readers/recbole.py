"""RecBole's atomic files: tab separated, with a type behind each name in the header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl

from foveate.data.readers.base import NO_ITEMS, NO_VIEWERS, Reader, Source
from foveate.data.readers.raw import as_items, attributes, collect, epoch, expect_columns, header, need, words
from foveate.data.schema import ITEM_ID, OCCURRED_AT, RATE, USER_ID, WATCH
from foveate.errors import ReaderError, SchemaError

_NUMBERS = {"float": pl.Float64()}
_TYPES = ("token", "token_seq", "float", "float_seq")


@dataclass(frozen=True)
class RecBoleReader(Reader):
    """Reads ``NAME.inter``, and ``NAME.item`` and ``NAME.user`` where they lie beside it.

    Parameters
    ----------
    user, item, time, rating
        Field names. Without the time's field rows keep the order of the file; without the rating's a row is a watch.
    time_unit
        Of the time's field.
    title, categories
        Item fields to take the title and the categories from; the first one that is there.
    """

    name: ClassVar[str] = "recbole"

    user: str = "user_id"
    item: str = "item_id"
    time: str = "timestamp"
    rating: str = "rating"
    time_unit: Literal["s", "ms", "us"] = "s"
    title: tuple[str, ...] = ("title", "movie_title", "item_name", "name")
    categories: tuple[str, ...] = ("categories", "class", "genre", "genres", "category")

    def read(self, root: Path) -> Source:
        """See :meth:`Reader.read`."""
        log = _interactions_file(root)
        frame, fields = _scan(log)
        expect_columns(log.name, list(fields), (self.user, self.item))
        rated = self.rating in fields
        signal = pl.col(self.rating).cast(pl.Float32).alias(RATE) if rated else pl.lit(float("nan")).alias(WATCH)
        columns = [pl.col(self.user).alias(USER_ID), pl.col(self.item).alias(ITEM_ID), signal]
        if self.time in fields:
            columns.append(epoch(self.time, self.time_unit).alias(OCCURRED_AT))
        items, viewers = log.with_suffix(".item"), log.with_suffix(".user")
        return Source(
            (frame.select(columns),),
            (RATE,) if rated else (WATCH,),
            self._items(items) if items.exists() else NO_ITEMS,
            self._viewers(viewers) if viewers.exists() else NO_VIEWERS,
            files=(log,),
        )

    def _items(self, path: Path) -> pl.DataFrame:
        frame, fields = _scan(path)
        expect_columns(path.name, list(fields), (self.item,))
        columns = [pl.col(self.item).alias(ITEM_ID)]
        title = next((name for name in self.title if name in fields), None)
        if title:
            columns.append(pl.col(title).cast(pl.String).alias("title"))
        categories = next((name for name in self.categories if name in fields), None)
        if categories:
            whole = fields[categories] == "token"
            parts = pl.concat_list(categories) if whole else words(categories, " ")
            columns.append(parts.alias("categories"))
        return as_items(collect(frame.select(columns), path.name))

    def _viewers(self, path: Path) -> pl.DataFrame:
        frame, fields = _scan(path)
        expect_columns(path.name, list(fields), (self.user,))
        return attributes(collect(frame, path.name), self.user)


def _interactions_file(root: Path) -> Path:
    if need(root).is_file():
        return root
    found = sorted(root.glob("*.inter"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ReaderError(f"'{root}' must hold one .inter file, found {names}; name the file itself")
    return found[0]


def _scan(path: Path) -> tuple[pl.LazyFrame, dict[str, str]]:
    fields: dict[str, str] = {}
    for field in header(path, "\t"):
        name, _, kind = field.rpartition(":")
        if kind not in _TYPES:
            raise SchemaError(path.name, [f"header '{field}' must read NAME:TYPE with one of {', '.join(_TYPES)}"])
        fields[name] = kind
    schema = {f"{name}:{kind}": _NUMBERS.get(kind, pl.String()) for name, kind in fields.items()}
    frame = pl.scan_csv(path, separator="\t", quote_char=None, schema=schema, glob=False)
    return frame.select(pl.col(full).alias(name) for full, name in zip(schema, fields, strict=True)), fields
