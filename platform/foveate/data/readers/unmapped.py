"""Columns that no one reads: which they are, and whether the import misses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from foveate.data.raw.nested import nested_names, with_nested
from foveate.data.raw.table import RawTable
from foveate.data.readers.convert import Column, How
from foveate.data.readers.names import is_length_name

_YEAR_2000: Final = 946_684_800
"""Seconds since 1970; in a smaller unit times since then are larger numbers still."""


def ignored_columns(table: RawTable, columns: Sequence[Column]) -> tuple[str, ...]:
    """Return the columns of a table that none of ``columns`` is made of."""
    read = {column.theirs for column in columns}
    # What a field was taken of is not left out.
    return tuple(
        name for name in table.schema if name not in read and not any(one.startswith(f"{name}.") for one in read)
    )


def is_time(values: pl.Series, earliest: float = 10_000_000) -> bool:
    """Whether values are times: typed, dates in text, or numbers from ``earliest`` on."""
    if values.dtype.is_temporal():
        return True
    if not (values.dtype.is_numeric() or isinstance(values.dtype, pl.String)):
        return False
    known = values.drop_nulls()
    numbers = known.cast(pl.Float64, strict=False)
    if numbers.null_count() < len(known):
        return bool((numbers.fill_null(0) >= earliest).all())
    return bool(known.cast(pl.String).str.contains(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}").all()) and len(known) > 0


def _is_length(name: str, values: pl.Series) -> bool:
    """Whether values may be how long something takes: by the column's name, and neither flags nor times."""
    if not (values.dtype.is_numeric() or isinstance(values.dtype, pl.String)):
        return False
    numbers = values.drop_nulls().cast(pl.Float64, strict=False)
    fit = len(numbers) > 0 and numbers.null_count() == 0 and bool(numbers.is_between(0, _YEAR_2000).all())
    return fit and bool((numbers > 1).any()) and is_length_name(name)


def unread_warning(table: RawTable, ignored: Sequence[str], times: str | None, lengths: str | None) -> tuple[str, ...]:
    """Return a warning where columns that nobody reads look like times or lengths that the import has none of.

    Parameters
    ----------
    times, lengths
        The settings that would name a column of times, and one of seconds; None where one is read already.
    """
    plain = [name for name in ignored if not table.schema[name].is_nested()]
    sample = table.head(plain) if plain and table.header else pl.DataFrame()
    found = []
    if times:
        found.append((times, "times", [name for name in sample.columns if is_time(sample[name], _YEAR_2000)]))
    if lengths:
        found.append((lengths, "lengths", [name for name in sample.columns if _is_length(name, sample[name])]))
    likely = [(setting, what, names) for setting, what, names in found if names]
    if not likely:
        return ()
    look = "; ".join(f"{', '.join(names)} like {what}" for _, what, names in likely)
    say = " ".join(f"{setting}={names[0]}" for setting, _, names in likely)
    return (f"columns of '{table.name}' that are not read look as if they were needed: {look}; if so, say {say}",)


def column_samples(table: RawTable, found: Mapping[str, tuple[str, How]]) -> list[tuple[str, str, str, str]]:
    """Return each column with its first value, what it is taken for, and how that is known."""
    taken = {theirs: (ours, how) for ours, (theirs, how) in found.items()}
    whole = with_nested(table, nested_names(table))
    sample = whole.head(rows=100)
    rows = []
    for name in whole.schema:
        if not any(other.startswith(f"{name}.") for other in whole.schema):
            first = next(iter(sample[name].drop_nulls()), "")
            rows.append((name, str(first), *taken.get(name, ("", ""))))
    return rows
