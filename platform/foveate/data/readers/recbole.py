"""RecBole's atomic files: tab separated, with a type behind each name in the header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl

from foveate.core.errors import ReaderError, SchemaError
from foveate.data.importing.contacts import watched_somehow
from foveate.data.raw.files import need
from foveate.data.raw.open_table import open_table
from foveate.data.raw.table import RawTable
from foveate.data.readers.base import NO_ITEMS, NO_VIEWERS, ItemTable, LogFile, Reader, Source, viewers_of
from foveate.data.readers.convert import Column, RowErrors, convert_table, expect_columns, time_parser
from foveate.data.schema import ITEM_ID, OCCURRED_AT, RATE, USER_ID, WATCH, as_items
from foveate.data.values.base import Parsed
from foveate.data.values.numbers import Number
from foveate.data.values.text import Id, Text, Words
from foveate.data.values.times import TimeUnit

_TYPES = ("token", "token_seq", "float", "float_seq")


@dataclass(frozen=True)
class RecBoleReader(Reader):
    """Reads ``NAME.inter``, and ``NAME.item`` and ``NAME.user`` where they lie beside it.

    Parameters
    ----------
    user, item, time, rating
        Field names. Without the time's field rows keep the order of the file; without the rating's a row is a watch.
    time_unit
        Of the time's field: ``s``, ``ms``, ``us`` or ``ns``; ``auto`` detects it by the size of each number.
    title, categories
        Item fields to take the title and the categories from; the first one that is there.
    """

    name: ClassVar[str] = "recbole"

    user: str = "user_id"
    item: str = "item_id"
    time: str = "timestamp"
    rating: str = "rating"
    time_unit: TimeUnit = "auto"
    title: tuple[str, ...] = ("title", "movie_title", "item_name", "name")
    categories: tuple[str, ...] = ("categories", "class", "genre", "genres", "category")

    @classmethod
    def fits(cls, root: Path) -> bool:
        return root.suffix == ".inter" if root.is_file() else len(list(root.glob("*.inter"))) == 1

    def read(self, root: Path) -> Source:
        path = _interactions_file(root)
        log, _ = _open(path)
        expect_columns(log.name, log.schema, (self.user, self.item))
        rated = self.rating in log.schema
        columns = [Column(USER_ID, self.user, Id()), Column(ITEM_ID, self.item, Id())]
        if rated:
            columns.append(Column(RATE, self.rating, Number()))
        if self.time in log.schema:
            columns.append(Column(OCCURRED_AT, self.time, time_parser(log, self.time, unit=self.time_unit)))
        ignored = tuple(name for name in log.schema if name not in {column.theirs for column in columns})
        items, viewers = path.with_suffix(".item"), path.with_suffix(".user")
        errors = self.errors()
        return Source(
            (
                LogFile(log, tuple(columns), ignored=ignored)
                if rated
                else LogFile(log, tuple(columns), watched_somehow, ignored),
            ),
            (RATE,) if rated else (WATCH,),
            errors,
            self._items(items, errors) if items.exists() else NO_ITEMS,
            self._viewers(viewers) if viewers.exists() else NO_VIEWERS,
        )

    def _items(self, path: Path, errors: RowErrors) -> ItemTable:
        table, types = _open(path)
        expect_columns(path.name, table.schema, (self.item,))
        columns = [Column(ITEM_ID, self.item, Id())]
        title = next((name for name in self.title if name in types), None)
        if title:
            columns.append(Column("title", title, Text(), "guessed"))
        categories = next((name for name in self.categories if name in types), None)
        if categories:
            parser = OneWord() if types[categories] == "token" else Words(" ")
            columns.append(Column("categories", categories, parser, "guessed"))
        items = convert_table(table, columns, errors)
        return ItemTable(as_items(items.with_columns(pl.col("^categories$").fill_null([]))), tuple(columns))

    def _viewers(self, path: Path) -> pl.DataFrame:
        table, _ = _open(path)
        expect_columns(path.name, table.schema, (self.user,))
        return viewers_of(table, self.user)


@dataclass(frozen=True)
class OneWord:
    """Reads a text as a list of that one word."""

    about: str = "one word"
    expects: str = "text"

    def parse(self, raw: pl.Series) -> Parsed:
        parsed = Text().parse(raw)
        listed = pl.select(pl.when(parsed.values.is_not_null()).then(pl.concat_list(parsed.values))).to_series()
        return Parsed(listed, parsed.bad)


def _interactions_file(root: Path) -> Path:
    if need(root).is_file():
        return root
    found = sorted(root.glob("*.inter"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ReaderError(f"'{root}' must hold one .inter file, found {names}; name the file itself")
    return found[0]


def _open(path: Path) -> tuple[RawTable, dict[str, str]]:
    """Open an atomic file; returns it with plain names, and the type of each field."""
    table = open_table(path, separator="\t")
    types: dict[str, str] = {}
    for field in table.schema:
        name, _, kind = field.rpartition(":")
        if kind not in _TYPES:
            raise SchemaError(path.name, [f"header '{field}' must read NAME:TYPE with one of {', '.join(_TYPES)}"])
        types[name] = kind
    names = dict(zip(table.schema, types, strict=True))
    return table.renamed(names), types
