"""Opening a raw file as a table, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from foveate.core.errors import ReaderError
from foveate.data.raw.dialect import sniff
from foveate.data.raw.files import ARROW_SUFFIXES, LINES_SUFFIXES, PARQUET_SUFFIXES, need
from foveate.data.raw.json_table import is_one_object, json_lines_table, json_list_table
from foveate.data.raw.table import RawTable, frame_table
from foveate.data.raw.text_table import text_table


def open_table(
    path: Path,
    *,
    separator: str = "",
    names: Sequence[str] = (),
    known: Callable[[str], bool] | None = None,
    types: Mapping[str, pl.DataType] | None = None,
) -> RawTable:
    """Open a raw file as a table; its format is detected by its name and, failing that, by its beginning.

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
        written = start + stream.read(1 << 12)
    if suffix in PARQUET_SUFFIXES or start.startswith(b"PAR1"):
        return _typed(path, pl.scan_parquet, "Parquet")
    if suffix in ARROW_SUFFIXES or start == b"ARROW1":
        # A stream of Arrow, as Hugging Face's datasets write it, has no mark at its start.
        return _typed(path, pl.scan_ipc if start == b"ARROW1" else pl.read_ipc_stream, "Arrow")
    if suffix in LINES_SUFFIXES or start.lstrip()[:2] == b'{"':
        whole = written.lstrip()[:1] == b"[" or is_one_object(path)
        return json_list_table(path) if whole else json_lines_table(path)
    return text_table(path, sniff(path, separator=separator, names=names, known=known), types or {})


def _typed(path: Path, scan: Callable[[Path], pl.LazyFrame | pl.DataFrame], about: str) -> RawTable:
    try:
        return frame_table(scan(path), path.name, about)
    except (OSError, pl.exceptions.PolarsError) as error:
        fault = f"cannot be read as {about}, it may be truncated"
        raise ReaderError(f"'{path}' {fault}: {error}; copy or export it again") from error
