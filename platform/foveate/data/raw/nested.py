"""What lies within a column: the fields of a struct, the keys of a JSON object that is text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import Final

import polars as pl

from foveate.data.raw.table import RawTable

_SAMPLE: Final = 100
"""Rows whose JSON objects are asked for their keys."""


def with_nested(table: RawTable, names: Iterable[str]) -> RawTable:
    """Return a table with a column more for each name such as ``who.id`` that is a field within one of its columns.

    Parameters
    ----------
    names
        Columns that somebody has named; those that the table has, and those that are no fields, change nothing.

    Raises
    ------
    ReaderError
        The table is damaged.
    """
    found = {name: _field(table, name) for name in names if name not in table.schema}
    new = {name: field for name, field in found.items() if field is not None}
    if not new:
        return table
    schema = {**table.schema, **{name: dtype for name, (_, dtype) in new.items()}}
    return table.changed(
        schema, lambda frame: frame.with_columns(value.alias(name) for name, (value, _) in new.items())
    )


def nested_names(table: RawTable) -> list[str]:
    """Return the names of the fields within the columns of a table, as far as its first rows tell."""
    objects = _json_columns(table)
    return [
        f"{column}.{path}"
        for column, dtype in table.schema.items()
        for path in (_struct_paths(dtype) if isinstance(dtype, pl.Struct) else objects.get(column, ()))
    ]


def _field(table: RawTable, name: str) -> tuple[pl.Expr, pl.DataType] | None:
    """Return the value of a field and its type; None where the table has no such field."""
    heads = [name[:at] for at, mark in enumerate(name) if mark == "." and name[:at] in table.schema]
    if not heads:
        return None
    # A column may have a dot in its own name.
    head = max(heads, key=len)
    keys = name[len(head) + 1 :].split(".")
    dtype = table.schema[head]
    if not isinstance(dtype, pl.Struct):
        objects = _json_columns(table)
        if head not in objects:
            return None
        found = pl.col(head).str.json_path_match("$" + "".join(f"[{json.dumps(key)}]" for key in keys))
        # A key that the first rows lack may come later.
        known = ".".join(keys) in objects[head] or any(
            piece.select(found.is_not_null().any()).item() for piece in table.pieces([head])
        )
        return (found, pl.String()) if known else None
    value = reduce(lambda within, key: within.struct.field(key), keys, pl.col(head))
    try:
        types = pl.LazyFrame(schema=dict(table.schema)).select(value.alias(name)).collect_schema()
    except pl.exceptions.PolarsError:
        return None
    return value, types[name]


def _struct_paths(dtype: pl.Struct) -> Iterator[str]:
    for name, inner in dtype.to_schema().items():
        if isinstance(inner, pl.Struct):
            yield from (f"{name}.{path}" for path in _struct_paths(inner))
        else:
            yield name


def _json_columns(table: RawTable) -> Mapping[str, list[str]]:
    """Return the columns of text that hold JSON objects, with the paths of their keys."""
    texts = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.String)]
    rows = table.head(texts, _SAMPLE) if texts else pl.DataFrame()
    return {name: paths for name in texts if (paths := _object_paths(rows[name].drop_nulls()))}


def _object_paths(texts: pl.Series) -> list[str]:
    paths: dict[str, None] = {}
    for text in texts:
        if not text.startswith("{"):
            return []
        try:
            paths.update(dict.fromkeys(_paths(json.loads(text))))
        except ValueError:
            return []
    # What is null in one row and an object in another is no value.
    return [path for path in paths if not any(other.startswith(f"{path}.") for other in paths)]


def _paths(value: Mapping[str, object]) -> Iterator[str]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from (f"{key}.{path}" for path in _paths(inner))
        else:
            yield key
