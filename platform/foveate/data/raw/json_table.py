"""JSON lines and JSON lists: every value as its text, so that no type is guessed from the first rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from foveate.core.errors import ReaderError
from foveate.data.raw.dialect import not_utf8
from foveate.data.raw.table import BROKEN, EXACT_PIECE, RawTable, cannot_read
from foveate.data.raw.text_table import scan_lines


def json_lines_table(path: Path) -> RawTable:
    """Open a file that holds one object a line.

    Raises
    ------
    ReaderError
        It is in another encoding, or no line holds an object.
    """
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
        coded=True,
    )


def json_list_table(path: Path) -> RawTable:
    """Open one JSON list of objects, which is read whole; the list may be all that one object around it holds.

    Raises
    ------
    ReaderError
        It is in another encoding, is no JSON, or holds no list of objects.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"), parse_int=str, parse_float=str)
    except UnicodeDecodeError as error:
        raise ReaderError(not_utf8(path.name)) from error
    except ValueError as error:
        raise ReaderError(f"'{path.name}' is not JSON: {error}; export it again") from error
    if isinstance(rows, dict):
        lists = [value for value in rows.values() if _is_list_of_objects(value)]
        rows = lists[0] if len(lists) == 1 else [rows]
    keys = list(dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row))
    if not keys:
        raise ReaderError(f"'{path.name}' holds no list of JSON objects; export one object a row")
    frame = _frame_of(rows, keys)
    schema = dict.fromkeys(keys, pl.String())
    return RawTable(
        path.name, "a JSON list", schema, (frame.lazy(),), None, lambda row: f"object {row + 1:,}", coded=True
    )


def is_one_object(path: Path) -> bool:
    """Whether a file holds one JSON object over many lines, or one in a line that holds the list of all rows."""
    try:
        found = list(islice(_objects(path), 2))
    except ReaderError:
        return False
    if len(found) == 1 and isinstance(found[0][1], dict):
        return sum(map(_is_list_of_objects, found[0][1].values())) == 1
    return bool(found) and isinstance(found[0][1], str) and found[0][1].strip() == "{"


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _keys(path: Path) -> list[str]:
    """Return every key of the objects in a file, whether it comes in the first line or in the last."""
    found = pl.col("line").str.extract_all(r'"(?:[^"\\]|\\.)*"\s*:')
    try:
        texts = scan_lines(path).select(found).explode("line").unique(maintain_order=True).collect(engine="streaming")
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
    while rows := list(islice(found, EXACT_PIECE)):
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
