"""Opening raw files: what the readers share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from foveate.data.schema import ITEMS, USER_ID
from foveate.errors import ReaderError, SchemaError

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}

_REMEDIES = {
    "appropriate format to parse dates": "a time must be a number or ISO 8601, such as 2024-05-01T12:00:00Z",
    "to `datetime": "a time must be a number or ISO 8601, such as 2024-05-01T12:00:00Z",
}
"""What to do, by a part of the scanner's complaint."""


def need(path: Path) -> Path:
    """Return ``path`` if it is there.

    Raises
    ------
    ReaderError
        It is not.
    """
    if not path.exists():
        raise ReaderError(f"'{path}' does not exist; name the folder or file that holds the log")
    return path


def scan_csv(path: Path, columns: Mapping[str, pl.DataType], *, separator: str = ",") -> pl.LazyFrame:
    """Scan a text table with a header, its columns of the types given; all others are left out.

    Raises
    ------
    ReaderError
        The file is absent, empty or not UTF-8.
    SchemaError
        It misses columns.
    """
    names = header(path, separator)
    expect_columns(path.name, names, columns)
    kept: dict[str, pl.DataType] = {name: columns.get(name, pl.String()) for name in names}
    quote = '"' if separator == "," else None
    frame = pl.scan_csv(path, separator=separator, quote_char=quote, schema=kept, glob=False)
    return frame.select(list(columns))


def scan_parquet(path: Path) -> pl.LazyFrame:
    """Scan a Parquet file.

    Raises
    ------
    ReaderError
        The file is absent, is no Parquet, or is truncated.
    """
    need(path)
    try:
        frame = pl.scan_parquet(path, glob=False)
        frame.collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        fault = "cannot be read as Parquet, it may be truncated"
        raise ReaderError(f"'{path}' {fault}: {error}; copy or export it again") from error
    return frame


def cannot_read(path: Path | str, error: Exception) -> ReaderError:
    """Return the error that says why a scanner gave up on a file, and what to do."""
    fault = plain(error)
    if "utf-8" in fault.lower() or "utf8" in fault.lower():
        return ReaderError(not_utf8(path))
    remedy = next((told for sign, told in _REMEDIES.items() if sign in fault), "mend or export it again")
    return ReaderError(f"'{path}' cannot be read: {fault}; {remedy}")


def collect(frame: pl.LazyFrame, path: Path | str) -> pl.DataFrame:
    """Read a small table whole.

    Raises
    ------
    ReaderError
        It is damaged, in another encoding, or holds a value of another type.
    """
    try:
        return frame.collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise cannot_read(path, error) from error


def plain(error: Exception) -> str:
    """Return the first paragraph of a scanner's complaint: the fault, without its hints for programmers."""
    return " ".join(str(error).split("\n\n")[0].split())


def header(path: Path, separator: str = ",") -> list[str]:
    """Return the column names in a text table's first line.

    Raises
    ------
    ReaderError
        The file is absent, empty or not UTF-8.
    """
    need(path)
    try:
        with path.open(encoding="utf-8-sig") as stream:
            line = stream.readline().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ReaderError(not_utf8(path)) from error
    except OSError as error:
        raise ReaderError(f"'{path}': {error.strerror}") from error
    if "\0" in line:
        raise ReaderError(not_utf8(path))
    if not line.strip():
        raise ReaderError(f"'{path}' is empty: it has no header line")
    return [name.strip('"') for name in line.split(separator)]


def not_utf8(path: Path | str) -> str:
    """Say that a file is in another encoding, and what to do."""
    return f"'{path}' is not UTF-8 text; convert it first, such as with: iconv -f LATIN1 -t UTF-8"


def expect_columns(table: str, found: Sequence[str], wanted: Iterable[str]) -> None:
    """Check that all columns are there.

    Raises
    ------
    SchemaError
        Some are not: all of them are named.
    """
    missing = [name for name in wanted if name not in found]
    if missing:
        faults = [f"column '{name}' is missing" for name in missing]
        raise SchemaError(table, [*faults, f"it holds: {', '.join(found)}"])


def epoch(column: str, unit: str) -> pl.Expr:
    """Return a number of seconds, milliseconds or microseconds since 1970 as a time."""
    whole = pl.col(column)
    scaled = whole if unit == "us" else whole * (1_000_000 // _PER_SECOND[unit])
    return scaled.cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def attributes(frame: pl.DataFrame, user: str) -> pl.DataFrame:
    """Return viewers: every column but the id, as published, in one JSON object each."""
    rest = [name for name in frame.columns if name != user]
    packed = pl.struct(rest).struct.json_encode() if rest else pl.lit(None, dtype=pl.String)
    return frame.select(pl.col(user).alias(USER_ID), packed.alias("attributes"))


def words(column: str, separator: str) -> pl.Expr:
    """Return a text as the list of its parts, blanks left out; an empty list where there is none."""
    parts = pl.col(column).fill_null("").str.split(separator)
    return parts.list.eval(pl.element().str.strip_chars()).list.eval(pl.element().filter(pl.element() != ""))


def as_items(frame: pl.DataFrame) -> pl.DataFrame:
    """Return items with every column of the item table, nulls where the source knows nothing."""
    given = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in ITEMS.items()
    ]
    return frame.select(given)
