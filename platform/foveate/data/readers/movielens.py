"""MovieLens: the ``.csv`` layout of latest-small and its kin, and the ``::`` layout of 1M and 10M."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl

from foveate.data.readers.base import NO_VIEWERS, Reader, Source
from foveate.data.readers.raw import as_items, attributes, collect, epoch, need, scan_csv, words
from foveate.data.schema import ITEM_ID, OCCURRED_AT, RATE, USER_ID
from foveate.errors import ReaderError, SchemaError

_NO_GENRES = "(no genres listed)"
_RATINGS = ("userId", "movieId", "rating", "timestamp")


@dataclass(frozen=True)
class MovieLensReader(Reader):
    """Reads ratings, movies, and free tags and users where the release has them.

    Titles are kept as they are, genres become categories, and the free tags of all viewers become the item's tags,
    the most given first.
    """

    name: ClassVar[str] = "movielens"

    def read(self, root: Path) -> Source:
        """See :meth:`Reader.read`."""
        if (need(root) / "ratings.csv").exists():
            return _read_csv(root)
        if (root / "ratings.dat").exists():
            return _read_dat(root)
        raise ReaderError(f"'{root}' holds neither ratings.csv nor ratings.dat; name the folder of a MovieLens release")


def _read_csv(root: Path) -> Source:
    types = (pl.String(), pl.String(), pl.Float32(), pl.Int64())
    ratings = scan_csv(root / "ratings.csv", dict(zip(_RATINGS, types, strict=True)))
    text = pl.String()
    movies = collect(scan_csv(root / "movies.csv", {"movieId": text, "title": text, "genres": text}), "movies.csv")
    tags = pl.DataFrame(schema={"movieId": text, "tag": text})
    if (root / "tags.csv").exists():
        tags = collect(scan_csv(root / "tags.csv", {"movieId": text, "tag": text}), "tags.csv")
    return Source((_contacts(ratings),), (RATE,), _items(movies, tags), files=(root / "ratings.csv",))


def _read_dat(root: Path) -> Source:
    # One colon separates for the scanner, so that every second column is empty. Ratings hold digits alone.
    names = [name for field in _RATINGS for name in (field, f"_{field}")][:-1]
    types = {"rating": pl.Float32(), "timestamp": pl.Int64()}
    schema = {name: types.get(name, pl.String()) for name in names}
    ratings = pl.scan_csv(
        root / "ratings.dat", separator=":", has_header=False, quote_char=None, schema=schema, glob=False
    )
    movies = _dat(root / "movies.dat", ("movieId", "title", "genres"))
    tags = pl.DataFrame(schema={"movieId": pl.String(), "tag": pl.String()})
    if (root / "tags.dat").exists():
        tags = _dat(root / "tags.dat", ("userId", "movieId", "tag", "timestamp"))
    viewers = NO_VIEWERS
    if (root / "users.dat").exists():
        viewers = attributes(_dat(root / "users.dat", ("userId", "gender", "age", "occupation", "zip")), "userId")
    return Source((_contacts(ratings),), (RATE,), _items(movies, tags), viewers, files=(root / "ratings.dat",))


def _contacts(ratings: pl.LazyFrame) -> pl.LazyFrame:
    return ratings.select(
        pl.col("userId").alias(USER_ID),
        pl.col("movieId").alias(ITEM_ID),
        epoch("timestamp", "s").alias(OCCURRED_AT),
        pl.col("rating").alias(RATE),
    )


def _items(movies: pl.DataFrame, tags: pl.DataFrame) -> pl.DataFrame:
    counted = (
        tags.drop_nulls("tag")
        .group_by("movieId", "tag")
        .len()
        .sort(["movieId", "len", "tag"], descending=[False, True, False])
    )
    lists = counted.group_by("movieId", maintain_order=True).agg(pl.col("tag").alias("tags"))
    genres = words("genres", "|")
    return as_items(
        movies.join(lists, on="movieId", how="left", maintain_order="left").with_columns(
            pl.col("movieId").alias(ITEM_ID),
            genres.list.filter(pl.element() != _NO_GENRES).alias("categories"),
            pl.col("tags").fill_null([]),
        )
    )


def _dat(path: Path, names: tuple[str, ...]) -> pl.DataFrame:
    """Read one of the small ``::`` files; they are latin-1, and a title may hold colons of its own."""
    rows = []
    for number, line in enumerate(need(path).read_text(encoding="latin-1").split("\n"), start=1):
        fields = line.rstrip("\r").split("::")
        if len(fields) == len(names):
            rows.append(fields)
        elif line:
            raise SchemaError(path.name, [f"line {number} holds {len(fields)} fields, expected {len(names)}: {line!r}"])
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
