"""MovieLens: the ``.csv`` layout of latest-small and its kin, and the ``::`` layout of 1M and 10M."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import polars as pl

from foveate.core.errors import ReaderError, SchemaError
from foveate.data.raw.files import need
from foveate.data.raw.open_table import open_table
from foveate.data.raw.table import RawTable, frame_table
from foveate.data.readers.base import NO_VIEWERS, ItemTable, LogFile, Reader, Source, viewers_of
from foveate.data.readers.convert import Column, RowErrors, convert_table, expect_columns, time_parser
from foveate.data.schema import ITEM_ID, OCCURRED_AT, RATE, USER_ID, as_items
from foveate.data.values.numbers import Number
from foveate.data.values.text import Id, Text, Words

_RATINGS: Final = ("userId", "movieId", "rating", "timestamp")
_ITEM_COLUMNS: Final = (
    Column(ITEM_ID, "movieId", Id()),
    Column("title", "title", Text()),
    Column("categories", "genres", Words("|")),
)
_TAG_COLUMNS: Final = (Column(ITEM_ID, "movieId", Id()), Column("tag", "tag", Text()))


@dataclass(frozen=True)
class MovieLensReader(Reader):
    """Reads ratings, movies, and free tags and users where the release has them.

    Titles are kept as they are, genres become categories, and the free tags of all viewers become the item's tags,
    the most given first.
    """

    name: ClassVar[str] = "movielens"

    @classmethod
    def fits(cls, root: Path) -> bool:
        folder = root if root.is_dir() else root.parent
        if not root.is_dir() and root.name not in ("ratings.csv", "ratings.dat"):
            return False
        if (folder / "ratings.dat").exists():
            return (folder / "movies.dat").exists()
        logs, movies = folder / "ratings.csv", folder / "movies.csv"
        return logs.exists() and movies.exists() and {*_RATINGS[:3]} <= set(open_table(logs).schema)

    def read(self, root: Path) -> Source:
        folder = root if need(root).is_dir() else root.parent
        for suffix in (".csv", ".dat"):
            if (folder / f"ratings{suffix}").exists():
                return self._read(folder, suffix)
        raise ReaderError(f"'{root}' holds neither ratings.csv nor ratings.dat; name the folder of a MovieLens release")

    def _read(self, folder: Path, suffix: str) -> Source:
        errors = self.errors()
        headless = suffix == ".dat"
        path = folder / f"ratings{suffix}"
        ratings = open_table(path, separator="::", names=_RATINGS) if headless else open_table(path)
        expect_columns(ratings.name, ratings.schema, _RATINGS)
        columns = (
            Column(USER_ID, "userId", Id()),
            Column(ITEM_ID, "movieId", Id()),
            Column(OCCURRED_AT, "timestamp", time_parser(ratings, "timestamp")),
            Column(RATE, "rating", Number()),
        )
        movies = _small(folder / f"movies{suffix}", ("movieId", "title", "genres"))
        tags, users = folder / f"tags{suffix}", folder / "users.dat"
        viewers = NO_VIEWERS
        if headless and users.exists():
            viewers = viewers_of(_small(users, ("userId", "gender", "age", "occupation", "zip")), "userId")
        given = _small(tags, ("userId", "movieId", "tag", "timestamp")) if tags.exists() else None
        return Source(
            (LogFile(ratings, columns),),
            (RATE,),
            errors,
            _items(movies, given, errors),
            viewers,
        )


def _small(path: Path, names: Sequence[str]) -> RawTable:
    """Open a table beside the ratings; those of the ``::`` layout have no header."""
    if path.suffix == ".dat":
        return _dat(path, names)
    table = open_table(path)
    expect_columns(table.name, table.schema, [name for name in names if name not in ("userId", "timestamp")])
    return table


def _items(movies: RawTable, tags: RawTable | None, errors: RowErrors) -> ItemTable:
    items = convert_table(movies, _ITEM_COLUMNS, errors).with_columns(pl.col("categories").fill_null([]))
    if tags is None:
        untagged = items.with_columns(pl.lit([], dtype=pl.List(pl.String)).alias("tags"))
        return ItemTable(as_items(untagged), _ITEM_COLUMNS)
    counted = (
        convert_table(tags, _TAG_COLUMNS, errors)
        .drop_nulls("tag")
        .group_by(ITEM_ID, "tag")
        .len()
        .sort([ITEM_ID, "len", "tag"], descending=[False, True, False])
    )
    lists = counted.group_by(ITEM_ID, maintain_order=True).agg(pl.col("tag").alias("tags"))
    joined = items.join(lists, on=ITEM_ID, how="left", maintain_order="left")
    return ItemTable(as_items(joined.with_columns(pl.col("tags").fill_null([]))), _ITEM_COLUMNS)


def _dat(path: Path, names: Sequence[str]) -> RawTable:
    """Open one of the small ``::`` files: in UTF-8 or, as the older releases, in latin-1."""
    content = need(path).read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.rstrip("\r").split("::")
        if len(fields) == len(names):
            rows.append(fields)
        elif line:
            raise SchemaError(path.name, [f"line {number} holds {len(fields)} fields, expected {len(names)}: {line!r}"])
    return frame_table(pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row"), path.name)
