"""Writing the parts of a served log: rows by day, in files of bounded size, on the disk before they count."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from foveate.core.errors import StorageError
from foveate.data.served.chain import Part
from foveate.data.served.columns import COLUMNS, Table
from foveate.storage.files import sha256_of, sync_folder
from foveate.storage.folder import reason

ROWS: Final = 100_000
"""Rows of a part, at most."""

Row = tuple[Any, ...]


class PartWriter:
    """Takes rows in any order and writes them as parts of one change.

    Parameters
    ----------
    folder
        The served log.
    number
        Of the change.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self._number = number
        self._rows: dict[tuple[Table, str], list[Row]] = {}
        self._parts: list[Part] = []

    def add(self, table: Table, moment: int, row: Row) -> None:
        """Add a row that the store took at a moment, UTC microseconds."""
        key = table, datetime.fromtimestamp(moment / 1e6, UTC).strftime("%Y-%m-%d")
        rows = self._rows.setdefault(key, [])
        rows.append(row)
        if len(rows) == ROWS:
            self._write(*key)

    def frame(self, table: Table, date: str, frame: pl.DataFrame) -> None:
        """Write rows that are a table already as one part."""
        path = f"{table}/{date}/{self._number:06d}-{len(self._parts):04d}.parquet"
        self._parts.append(write_part(self._folder, path, table, date, frame))

    def finish(self) -> tuple[Part, ...]:
        """Write what is left; return all parts."""
        for key in sorted(self._rows):
            self._write(*key)
        return tuple(self._parts)

    def _write(self, table: Table, date: str) -> None:
        rows = self._rows.pop((table, date))
        self.frame(table, date, frame_of(rows, COLUMNS[table]))


def write_part(folder: Path, path: str, table: Table, date: str, frame: pl.DataFrame) -> Part:
    """Write a part, and come back when the disk holds it.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    target = folder / path
    try:
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True)
            sync_folder(target.parent.parent)
        frame.write_parquet(target, compression="zstd")
        with target.open("rb") as stream:
            os.fsync(stream.fileno())
        sync_folder(target.parent)
    except OSError as error:
        raise StorageError(f"'{target}' cannot be written: {reason(error)}") from error
    return Part(path, table, date, frame.height, sha256_of(target))


def frame_of(rows: Sequence[Row], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return rows as a table; times are UTC microseconds."""
    wire = {name: pl.Int64() if isinstance(dtype, pl.Datetime) else dtype for name, dtype in schema.items()}
    try:
        frame = pl.DataFrame(rows, schema=wire, orient="row")
    except UnicodeEncodeError:
        # What came as JSON may hold half of a pair of surrogates, which is no text.
        frame = pl.DataFrame([tuple(map(_mended, row)) for row in rows], schema=wire, orient="row")
    return frame.cast(dict(schema))  # type: ignore[arg-type] # polars asks for a mapping of its own types


def _mended(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
