"""A raw file as a table: read fast where it is well-formed, exactly where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa

from foveate.core.errors import ReaderError
from foveate.data.raw.dialect import not_utf8

PIECE: Final = 500_000
"""Rows of a raw table that are read at a time."""

EXACT_PIECE: Final = 50_000
"""Rows that are read at a time where they are read one by one."""

BROKEN: Final = "broken row"
"""The column that says what is wrong with a row as a whole, where anything is."""


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
    coded
        Whether a text may be a list or an object as JSON.
    """

    name: str
    about: str
    schema: Mapping[str, pl.DataType]
    frames: tuple[pl.LazyFrame, ...]
    slow: Callable[[int], Iterator[pl.DataFrame]] | None = None
    position: Callable[[int], str] = lambda row: f"row {row + 1:,}"
    decimal: str = "."
    header: bool = True
    coded: bool = False

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

    def head(self, columns: Sequence[str] = (), rows: int = 10_000) -> pl.DataFrame:
        """Return the first rows of some or all columns, broken ones left out.

        Raises
        ------
        ReaderError
            As :meth:`pieces`.
        """
        found = self.first(rows).whole(list(columns or self.schema))
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
        return self.changed(schema, lambda frame: frame.rename(dict(names)))

    def with_literals(self, values: Mapping[str, str | None]) -> RawTable:
        """Return the table with columns that hold one text each, such as those of a Hive folder's name."""
        new = {name: value for name, value in values.items() if name not in self.schema}
        if not new:
            return self
        literals = [pl.lit(value, dtype=pl.String).alias(name) for name, value in new.items()]
        schema = {**self.schema, **dict.fromkeys(new, pl.String())}
        return self.changed(schema, lambda frame: frame.with_columns(literals))

    def changed(self, schema: Mapping[str, pl.DataType], change: Callable[[Any], Any]) -> RawTable:
        """Return the table with a change of its columns, on whichever way it is read.

        Parameters
        ----------
        schema
            Types by column, after the change.
        change
            Makes it in a frame, lazy or not.
        """
        slow = self.slow
        return replace(
            self,
            schema=schema,
            frames=tuple(map(change, self.frames)),
            slow=None if slow is None else lambda start: map(change, slow(start)),
        )


def frame_table(frame: pl.DataFrame | pl.LazyFrame, name: str, about: str = "a table in memory") -> RawTable:
    """Return a table whose columns have types already; categories are the text that they stand for."""
    lazy = frame.lazy()
    types = lazy.collect_schema()
    text = [column for column, dtype in types.items() if isinstance(dtype, (pl.Categorical, pl.Enum))]
    if text:
        lazy = lazy.with_columns(pl.col(text).cast(pl.String))
    return RawTable(name, about, {**types, **dict.fromkeys(text, pl.String())}, (lazy,))


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
        # The interface of Arrow leaves out what pandas keeps in an index.
        named = any(name is not None for name in getattr(getattr(table, "index", None), "names", ()))
        return pl.DataFrame(table.reset_index() if named and hasattr(table, "reset_index") else table)
    except (TypeError, ValueError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        fault = " ".join(str(error).split())
        raise ReaderError(f"the {type(table).__name__} has a column of mixed types: {fault}; make it text") from error


def cannot_read(path: Path | str, error: Exception) -> ReaderError:
    """Return the error that says why a scanner gave up on a file, and what to do."""
    fault = " ".join(str(error).split("\n\n", maxsplit=1)[0].split())
    if "utf-8" in fault.lower() or "utf8" in fault.lower():
        return ReaderError(not_utf8(path))
    return ReaderError(f"'{path}' cannot be read: {fault}; mend or export it again")
