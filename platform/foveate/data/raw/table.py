"""Opening a raw file as a table: fast where it is well-formed, exact where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa

from foveate.data.raw.dialect import Dialect, not_utf8, records, sniff
from foveate.data.raw.files import ARROW_SUFFIXES, LINES_SUFFIXES, PARQUET_SUFFIXES, need
from foveate.errors import ReaderError

PIECE: Final = 500_000
"""Rows of a raw table that are read at a time."""

BROKEN: Final = "broken row"
"""The column that says what is wrong with a row as a whole, where anything is."""

_LINES_SEPARATOR: Final = "\x1f"
"""No text holds it: with it the scanner takes a line for one field."""
_SLOW_PIECE: Final = 50_000


@dataclass(frozen=True)
class RawTable:
    """A raw file as a table.

    Parameters
    ----------
    name
        The file, for messages.
    about
        What kind of file it is, for the report of an import.
    schema
        Types by column; those of text files are all strings.
    frames
        The rows, lazily: where reading stops with an error because the file is malformed, the next one goes on.
    slow
        Yields the rows from the n-th on exactly, broken ones marked in :data:`BROKEN`, where all frames have stopped;
        None where rows cannot break.
    position
        Says where the n-th row stands, from 0, such as ``line 17``.
    decimal
        The mark before the fraction of a number.
    header
        Whether the file names its columns.
    """

    name: str
    about: str
    schema: Mapping[str, pl.DataType]
    frames: tuple[pl.LazyFrame, ...]
    slow: Callable[[int], Iterator[pl.DataFrame]] | None = None
    position: Callable[[int], str] = lambda row: f"row {row + 1:,}"
    decimal: str = "."
    header: bool = True

    def pieces(self, columns: Sequence[str], size: int = PIECE) -> Iterator[pl.DataFrame]:
        """Yield some columns of all rows, in the order of the file, and :data:`BROKEN` where rows may be broken.

        Raises
        ------
        ReaderError
            The file is damaged, or in another encoding.
        """
        done = 0
        for at, frame in enumerate(self.frames):
            marked = BROKEN in frame.collect_schema()
            chosen = frame.select([*columns, BROKEN] if marked else columns)
            passed = done
            try:
                for piece in chosen.collect_batches(chunk_size=size, maintain_order=True):
                    # Not by a slice of the frame: with one the scanner does not see that a file is malformed.
                    rest = piece.slice(min(passed, piece.height))
                    passed -= piece.height - rest.height
                    if rest.height or not piece.height:
                        yield rest
                    done += rest.height
                return
            except (OSError, pl.exceptions.PolarsError) as error:
                if at + 1 == len(self.frames) and self.slow is None:
                    raise cannot_read(self.name, error) from error
        for piece in self.slow(done) if self.slow else ():
            yield piece.select([*columns, BROKEN])

    def first(self, rows: int) -> RawTable:
        """Return the table of the first rows."""
        slow = self.slow

        def few(start: int) -> Iterator[pl.DataFrame]:
            left = rows - start
            for piece in slow(start) if slow else ():
                yield piece.head(left)
                left -= piece.height
                if left <= 0:
                    return

        frames = tuple(frame.head(rows) for frame in self.frames)
        return replace(self, frames=frames, slow=None if slow is None else few)

    def head(self, rows: int = 10_000) -> pl.DataFrame:
        """Return the first rows, broken ones left out.

        Raises
        ------
        ReaderError
            As :meth:`pieces`.
        """
        found = self.first(rows).whole(list(self.schema))
        return found.filter(pl.col(BROKEN).is_null()).drop(BROKEN) if BROKEN in found.columns else found

    def whole(self, columns: Sequence[str]) -> pl.DataFrame:
        """Read some columns of a table that is known to be small.

        Raises
        ------
        ReaderError
            As :meth:`pieces`.
        """
        found = list(self.pieces(columns))
        empty = pl.DataFrame(schema={name: self.schema[name] for name in columns})
        return pl.concat([empty, *found], how="diagonal_relaxed", rechunk=True)

    def renamed(self, names: Mapping[str, str]) -> RawTable:
        """Return the table with other names for all its columns."""
        schema = {names[name]: dtype for name, dtype in self.schema.items()}
        return self._changed(schema, lambda frame: frame.rename(dict(names)))

    def with_literals(self, values: Mapping[str, str]) -> RawTable:
        """Return the table with columns that hold one text each, such as those of a Hive folder's name."""
        new = {name: value for name, value in values.items() if name not in self.schema}
        if not new:
            return self
        literals = [pl.lit(value).alias(name) for name, value in new.items()]
        schema = {**self.schema, **dict.fromkeys(new, pl.String())}
        return self._changed(schema, lambda frame: frame.with_columns(literals))

    def _changed(self, schema: Mapping[str, pl.DataType], change: Callable[[Any], Any]) -> RawTable:
        """Return the table with a change of its columns, on whichever way it is read."""
        slow = self.slow
        return replace(
            self,
            schema=schema,
            frames=tuple(map(change, self.frames)),
            slow=None if slow is None else lambda start: map(change, slow(start)),
        )


def open_table(
    path: Path,
    *,
    separator: str = "",
    names: Sequence[str] = (),
    known: Callable[[str], bool] | None = None,
    types: Mapping[str, pl.DataType] | None = None,
) -> RawTable:
    """Open a raw file as a table; its format is told by its name and, failing that, by its beginning.

    Parameters
    ----------
    separator, names, known
        Of a text table, see :func:`foveate.data.raw.dialect.sniff`.
    types
        Of columns of a text table that hold nothing else in a well-formed file: reading them so takes less time than
        reading text. Where a value is of another type all columns are text from there on.

    Raises
    ------
    ReaderError
        The file is absent, empty, damaged, or in another encoding.
    SchemaError
        There are more or fewer names than columns.
    """
    suffix = need(path).suffix.lower()
    with path.open("rb") as stream:
        start = stream.read(6)
    if suffix in PARQUET_SUFFIXES or start.startswith(b"PAR1"):
        return _typed(path, pl.scan_parquet, "Parquet")
    if suffix in ARROW_SUFFIXES or start == b"ARROW1":
        return _typed(path, pl.scan_ipc, "Arrow")
    if suffix in LINES_SUFFIXES or start.lstrip()[:2] == b'{"':
        return _json(path) if start.lstrip()[:1] == b"[" else _json_lines(path)
    return text_table(path, sniff(path, separator=separator, names=names, known=known), types or {})


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


def frame_table(frame: pl.DataFrame | pl.LazyFrame, name: str = "table") -> RawTable:
    """Return a table that is in memory already."""
    lazy = frame.lazy()
    return RawTable(name, "a table in memory", dict(lazy.collect_schema()), (lazy,))


def as_frame(table: object) -> pl.DataFrame | pl.LazyFrame:
    """Return a table of Polars, pandas or Arrow as one of Polars.

    Raises
    ------
    ReaderError
        It is none of them, or a column mixes types that Arrow cannot hold.
    """
    if isinstance(table, (pl.DataFrame, pl.LazyFrame)):
        return table
    if not hasattr(table, "__arrow_c_stream__"):
        raise ReaderError(f"a {type(table).__name__} is no table of Polars, pandas or Arrow")
    try:
        return pl.DataFrame(table)
    except (TypeError, ValueError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        fault = " ".join(str(error).split())
        raise ReaderError(f"the {type(table).__name__} has a column of mixed types: {fault}; make it text") from error


def cannot_read(path: Path | str, error: Exception) -> ReaderError:
    """Return the error that says why a scanner gave up on a file, and what to do."""
    fault = " ".join(str(error).split("\n\n", maxsplit=1)[0].split())
    if "utf-8" in fault.lower() or "utf8" in fault.lower():
        return ReaderError(not_utf8(path))
    return ReaderError(f"'{path}' cannot be read: {fault}; mend or export it again")


def _typed(path: Path, scan: Callable[[Path], pl.LazyFrame], about: str) -> RawTable:
    try:
        frame = scan(path)
        schema = dict(frame.collect_schema())
    except (OSError, pl.exceptions.PolarsError) as error:
        fault = f"cannot be read as {about}, it may be truncated"
        raise ReaderError(f"'{path}' {fault}: {error}; copy or export it again") from error
    return RawTable(path.name, about, schema, (frame,))


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
        _lines(path, dialect.skip)
        .select(fields.struct.rename_fields(names).alias("fields"))
        .unnest("fields")
        .with_columns(pl.when(more).then(pl.lit(f"has more than the {len(names)} fields of the others")).alias(BROKEN))
    )


def _lines(path: Path, skip: int = 0) -> pl.LazyFrame:
    return pl.scan_csv(
        path,
        has_header=False,
        skip_lines=skip,
        separator=_LINES_SEPARATOR,
        quote_char=None,
        schema={"line": pl.String()},
        glob=False,
    )


def _exact_rows(path: Path, dialect: Dialect, start: int) -> Iterator[pl.DataFrame]:
    width = len(dialect.names)
    schema = dict.fromkeys((*dialect.names, BROKEN), pl.String)
    found = islice(records(path, dialect), start, None)
    while rows := list(islice(found, _SLOW_PIECE)):
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


def _json_lines(path: Path) -> RawTable:
    keys = _without_inner(path, _keys(path))
    schema: dict[str, pl.DataType] = dict.fromkeys(keys, pl.String())
    # Every value as its text: no type is guessed from the first rows, and no large number becomes a float.
    frame = pl.scan_ndjson(path, schema=schema)
    return RawTable(
        path.name,
        "JSON lines",
        schema,
        (frame,),
        lambda start: _exact_objects(path, keys, start),
        lambda row: f"line {next(islice(_objects(path), row, None))[0]:,}",
    )


def _keys(path: Path) -> list[str]:
    """Return every key of the objects in a file, whether it comes in the first line or in the last."""
    found = pl.col("line").str.extract_all(r'"(?:[^"\\]|\\.)*"\s*:')
    try:
        texts = _lines(path).select(found).explode("line").unique(maintain_order=True).collect(engine="streaming")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise cannot_read(path.name, error) from error
    keys = []
    for text in texts["line"].drop_nulls():
        try:
            keys.append(str(json.loads(text.rstrip(": \t"))))
        except ValueError:
            # A quote within a text, which is no key.
            continue
    if not keys:
        raise ReaderError(f"'{path.name}' is not JSON lines in UTF-8: no line holds an object; export it again")
    return list(dict.fromkeys(keys))


def _without_inner(path: Path, keys: list[str]) -> list[str]:
    """Leave out keys that only objects within the objects have."""
    schema = dict.fromkeys(keys, pl.String())
    try:
        if (
            pl.scan_ndjson(path, schema=schema)
            .head(10_000)
            .select(pl.all().count().min())
            .collect()
            .min_horizontal()[0]
        ):
            return keys
        counts = pl.scan_ndjson(path, schema=schema).select(pl.all().count()).collect(engine="streaming")
    except (OSError, pl.exceptions.PolarsError):
        # A broken line, which reading will name.
        return keys
    return [key for key, count in zip(keys, counts.row(0), strict=True) if count] or keys


def _objects(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the number of each line that is not blank, and what it holds: its text where it is no JSON."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                try:
                    yield number, json.loads(line, parse_int=str, parse_float=str)
                except ValueError:
                    yield number, line
    except UnicodeDecodeError as error:
        raise ReaderError(not_utf8(path.name)) from error


def _exact_objects(path: Path, keys: Sequence[str], start: int) -> Iterator[pl.DataFrame]:
    found = islice(_objects(path), start, None)
    while rows := list(islice(found, _SLOW_PIECE)):
        yield _frame_of([row for _, row in rows], keys)


def _frame_of(rows: Sequence[Any], keys: Sequence[str]) -> pl.DataFrame:
    filled = []
    for row in rows:
        whole = isinstance(row, dict)
        fields = [_as_text(row.get(key)) if whole else None for key in keys]
        filled.append([*fields, None if whole else "is no JSON object"])
    return pl.DataFrame(filled, schema=dict.fromkeys((*keys, BROKEN), pl.String), orient="row")


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _json(path: Path) -> RawTable:
    """Open one JSON list of objects, which is read whole."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"), parse_int=str, parse_float=str)
    except UnicodeDecodeError as error:
        raise ReaderError(not_utf8(path.name)) from error
    except ValueError as error:
        raise ReaderError(f"'{path.name}' is not JSON: {error}; export it again") from error
    keys = list(dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row))
    frame = _frame_of(rows, keys)
    schema = dict.fromkeys(keys, pl.String())
    return RawTable(path.name, "a JSON list", schema, (frame.lazy(),), None, lambda row: f"object {row + 1:,}")
