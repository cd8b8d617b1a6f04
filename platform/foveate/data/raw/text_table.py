"""Text tables: cut at separators by the scanner, or row by row where it would read them wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from foveate.core.errors import ReaderError
from foveate.data.raw.dialect import Dialect, records
from foveate.data.raw.table import BROKEN, EXACT_PIECE, RawTable

_LINES_SEPARATOR: Final = "\x1f"
"""No text holds it: with it the scanner takes a line for one field."""


def text_table(path: Path, dialect: Dialect, types: Mapping[str, pl.DataType]) -> RawTable:
    """Open a text table of which is known how it is written; ``types`` as for :func:`open_table`."""
    text: dict[str, pl.DataType] = dict.fromkeys(dialect.names, pl.String())
    schema = {name: types.get(name, dtype) for name, dtype in text.items()}
    return RawTable(
        path.name,
        dialect.about,
        schema,
        tuple(frame for one in ((schema, text) if types else (text,)) for frame in _scan_text(path, dialect, one)),
        lambda start: _exact_rows(path, dialect, start),
        lambda row: _line(path, dialect, row),
        # Where commas do not separate, they stand before fractions.
        "," if dialect.separator == ";" else ".",
        dialect.header,
    )


def scan_lines(path: Path, skip: int = 0) -> pl.LazyFrame:
    """Scan a file as lines of text, in a column ``line``."""
    return pl.scan_csv(
        path,
        has_header=False,
        skip_lines=skip,
        separator=_LINES_SEPARATOR,
        quote_char=None,
        schema={"line": pl.String()},
        glob=False,
    )


def _scan_text(path: Path, dialect: Dialect, schema: Mapping[str, pl.DataType]) -> list[pl.LazyFrame]:
    """Return the ways in which the scanner reads a file, none where it would read it wrong."""
    if dialect.spaced or dialect.old_lines:
        return []
    if len(dialect.separator) > 1:
        return [_split_lines(path, dialect)]
    frame = pl.scan_csv(
        path,
        separator=dialect.separator,
        has_header=False,
        skip_lines=dialect.skip,
        quote_char='"' if dialect.quoted else None,
        schema=dict(schema),
        missing_columns="insert",
        glob=False,
    )
    return [frame]


def _split_lines(path: Path, dialect: Dialect) -> pl.LazyFrame:
    """Cut lines at a separator of several characters, which no scanner knows."""
    names = list(dialect.names)
    fields = pl.col("line").str.strip_chars_end("\r").str.splitn(dialect.separator, len(names))
    last = pl.col(names[-1])
    more = last.str.contains(dialect.separator, literal=True)
    return (
        scan_lines(path, dialect.skip)
        .select(fields.struct.rename_fields(names).alias("fields"))
        .unnest("fields")
        .with_columns(pl.when(more).then(pl.lit(f"has more than the {len(names)} fields of the others")).alias(BROKEN))
    )


def _exact_rows(path: Path, dialect: Dialect, start: int) -> Iterator[pl.DataFrame]:
    width = len(dialect.names)
    schema = dict.fromkeys((*dialect.names, BROKEN), pl.String)
    found = islice(records(path, dialect), start, None)
    while rows := list(islice(found, EXACT_PIECE)):
        filled = []
        for row, line, whole in rows:
            if not whole:
                # All that follows would be one value: no row can be skipped to go on after it.
                raise ReaderError(f"'{path.name}', line {line:,} opens a quote that is never closed; mend or remove it")
            more = any(field.strip() for field in row[width:])
            fault = f"has {len(row)} fields, the others have {width}" if more else None
            fields: list[str | None] = [field if field != "" else None for field in row[:width]]
            filled.append([*fields, *[None] * (width - len(fields)), fault])
        yield pl.DataFrame(filled, schema=schema, orient="row")


def _line(path: Path, dialect: Dialect, row: int) -> str:
    _, line, _ = next(islice(records(path, dialect), row, None))
    return f"line {line:,}"
