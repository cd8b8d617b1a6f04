"""The seam of value parsers: a column as it stands in a file becomes a column of ours, or says which rows are bad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import polars as pl

BLANKS: Final = ("", "NULL", "null", "Null", "NaN", "nan", "NaT", "nat", "\\N", "None", "<NA>", "(null)")
"""How exports write that there is nothing, in any column."""

_BLANK_NUMBERS: Final = (*{blank.lower() for blank in BLANKS}, "na", "n/a", "#n/a", "nil", "-", "--", "?", "<nil>",
                  "<null>", "[null]", "#null!", "undefined", "0000-00-00", "0000-00-00 00:00:00")  # fmt: skip
"""How they write it in columns of numbers, times and flags, where none of these can be a value; without case."""


@dataclass(frozen=True)
class Parsed:
    """What a parser made of a column.

    Parameters
    ----------
    values
        ``[N]``: null where there was nothing or nothing usable.
    bad
        ``[N]``: True where there was something that the column cannot hold; None where every row is fine.
    naive, zoned
        Times as text that name no time zone, and that name one.
    """

    values: pl.Series
    bad: pl.Series | None = None
    naive: int = 0
    zoned: int = 0


class Parser(Protocol):
    """Turns one column of a raw table into one of ours."""

    @property
    def about(self) -> str:
        """What the column is read as, for the report of an import, such as ``seconds``."""
        ...

    @property
    def expects(self) -> str:
        """What a value must be, for the error about a bad one."""
        ...

    def parse(self, raw: pl.Series) -> Parsed:
        """Return the values of ``raw``, a column of text or of a file's own type."""
        ...


def without_blanks(raw: pl.Series, *, text: bool) -> pl.Series:
    """Return text with null for every spelling of nothing.

    Parameters
    ----------
    raw
        A column of strings.
    text
        Whether words can be values: then only :data:`BLANKS` are nothing, and white space around values stays.
    """
    if not text:
        kept = raw.str.strip_chars()
        blank = kept.str.to_lowercase().is_in(_BLANK_NUMBERS)
    else:
        kept = raw
        spaced = raw.str.starts_with(" ")
        blank = (raw.str.strip_chars() if spaced.any() else raw).is_in(BLANKS)
    return masked(kept, blank) if blank.any() else kept


def decoded(raw: pl.Series) -> pl.Series:
    """Return bytes as text; null for those that are none in UTF-8."""
    try:
        return raw.cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series(raw.name, [_decoded(value) for value in raw.to_list()], dtype=pl.String)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def masked(values: pl.Series, mask: pl.Series) -> pl.Series:
    """Return ``values`` with null where ``mask`` is true."""
    return pl.select(pl.when(~mask.fill_null(value=False)).then(values)).to_series().alias(values.name)


def as_numbers(raw: pl.Series, dtype: pl.DataType, decimal: str = ".") -> Parsed:
    """Return text as numbers; ``decimal`` is the mark before the fraction."""
    values = raw.cast(dtype, strict=False)
    if values.null_count() == raw.null_count():
        return Parsed(values)
    text = without_blanks(raw, text=False)
    if decimal == ",":
        text = text.str.replace(r"^([+-]?\d+),(\d+)$", "$1.$2")
    values = text.cast(dtype, strict=False)
    if dtype.is_integer() and values.null_count() > text.null_count():
        values = values.fill_null(whole(text.cast(pl.Float64, strict=False)).cast(dtype, strict=False))
    return Parsed(values, bad_rows(values, text))


def whole(numbers: pl.Series) -> pl.Series:
    """Return floats with null where there is a fraction, or no number."""
    return masked(numbers, numbers.is_nan() | (numbers != numbers.floor()))


def bad_rows(values: pl.Series, text: pl.Series) -> pl.Series | None:
    """Return where there is text and no value, None where that is nowhere."""
    if values.null_count() == text.null_count():
        return None
    return values.is_null() & text.is_not_null()
