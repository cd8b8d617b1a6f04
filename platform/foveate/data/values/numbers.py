"""Numbers, lengths of time, and flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from foveate.data.values.base import Parsed, as_numbers, bad_rows, masked, whole, without_blanks

_CLOCK: Final = r"^(\d{1,4}):([0-5]\d):([0-5]\d(?:\.\d+)?)$"
_DAYS_AND_CLOCK: Final = r"^(?:(\d+) days?,? )?\+?(\d{1,2}):([0-5]\d):([0-5]\d(?:\.\d+)?)$"
"""As pandas and Python print a timedelta."""
_ISO_LENGTH: Final = r"^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$"
_UNITS: Final = {1e-9: "nanoseconds", 1e-6: "microseconds", 0.001: "milliseconds", 1.0: "seconds", 60.0: "minutes",
          3600.0: "hours"}  # fmt: skip
_YES: Final = ("true", "t", "yes", "y", "on")
_NO: Final = ("false", "f", "no", "n", "off")


@dataclass(frozen=True)
class Number:
    """Reads numbers, such as a rating or a propensity; not a number is how some tools write a blank.

    Parameters
    ----------
    decimal
        The mark before the fraction.
    share
        Whether only numbers from 0 to 1 are fine.
    """

    decimal: str = "."
    share: bool = False
    about: str = "numbers"

    @property
    def expects(self) -> str:
        return "a number from 0 to 1" if self.share else "a number"

    def parse(self, raw: pl.Series) -> Parsed:
        parsed = self._any(raw)
        if not self.share or parsed.values.is_between(0, 1).all():
            return parsed
        beyond = ~parsed.values.is_between(0, 1)
        bad = beyond if parsed.bad is None else parsed.bad | beyond
        return Parsed(masked(parsed.values, beyond), bad.fill_null(value=False))

    def _any(self, raw: pl.Series) -> Parsed:
        if isinstance(raw.dtype, pl.String):
            parsed = as_numbers(raw, pl.Float64(), self.decimal)
            return Parsed(parsed.values.fill_nan(None), parsed.bad)
        if raw.dtype.is_numeric() or isinstance(raw.dtype, pl.Boolean):
            return Parsed(raw.cast(pl.Float64).fill_nan(None))
        return _nothing_fits(raw, pl.Float64())


@dataclass(frozen=True)
class Seconds:
    """Reads lengths of time as seconds: numbers in a unit, ``1:02:03``, ISO 8601 such as ``PT5M``, typed durations.

    Parameters
    ----------
    scale
        Seconds in one unit of a plain number.
    decimal
        The mark before the fraction.
    """

    scale: float = 1.0
    decimal: str = "."

    @property
    def about(self) -> str:
        return _UNITS[self.scale]

    @property
    def expects(self) -> str:
        return f"a number of {self.about}, hours:minutes:seconds such as 00:05:00, or ISO 8601 such as PT5M"

    def parse(self, raw: pl.Series) -> Parsed:
        if isinstance(raw.dtype, pl.Duration):
            return Parsed(raw.dt.cast_time_unit("ns").to_physical() / 1e9)
        if isinstance(raw.dtype, pl.Time):
            return Parsed(raw.to_physical() / 1e9)
        if isinstance(raw.dtype, pl.Boolean):
            # It happened, and for how long is not said: not a number.
            return Parsed(
                masked(pl.Series(raw.name, [float("nan")]).new_from_index(0, len(raw)), ~raw.fill_null(value=False))
            )
        parsed = Number(self.decimal).parse(raw)
        seconds = parsed.values * self.scale if self.scale != 1 else parsed.values
        if parsed.bad is None or not isinstance(raw.dtype, pl.String):
            return Parsed(seconds, parsed.bad)
        text = without_blanks(raw, text=False)
        seconds = seconds.fill_null(_from_parts(text, _CLOCK, (3600, 60, 1)))
        seconds = seconds.fill_null(_from_parts(text, _DAYS_AND_CLOCK, (86_400, 3600, 60, 1)))
        seconds = seconds.fill_null(_from_parts(text, _ISO_LENGTH, (86_400, 3600, 60, 1)))
        # A number may be a blank by now: not a number stands for none.
        return Parsed(seconds, parsed.bad & seconds.is_null() if seconds.null_count() > text.null_count() else None)


@dataclass(frozen=True)
class Integer:
    """Reads whole numbers, ``3.0`` among them.

    Parameters
    ----------
    dtype
        Of the result; a number beyond it is bad.
    """

    dtype: pl.DataType
    about: str = "whole numbers"
    expects: str = "a whole number"

    def parse(self, raw: pl.Series) -> Parsed:
        if isinstance(raw.dtype, pl.String):
            return as_numbers(raw, self.dtype)
        if raw.dtype.is_float():
            known = raw.fill_nan(None)
            values = whole(known).cast(self.dtype, strict=False)
            return Parsed(values, bad_rows(values, known))
        if raw.dtype.is_numeric():
            values = raw.cast(self.dtype, strict=False)
            return Parsed(values, bad_rows(values, raw))
        return _nothing_fits(raw, self.dtype)


@dataclass(frozen=True)
class Years:
    """Reads ages in years; of a rating such as ``PG-13`` or ``16+`` it takes the age."""

    about: str = "years of age"
    expects: str = "an age in years"

    def parse(self, raw: pl.Series) -> Parsed:
        if not isinstance(raw.dtype, pl.String):
            return Integer(pl.Int16()).parse(raw)
        parsed = as_numbers(raw, pl.Int16())
        if parsed.bad is None:
            return parsed
        text = without_blanks(raw, text=False)
        ages = text.str.extract(r"^(?:[A-Za-z]{1,4}[- ]?)?(\d{1,2})\+?$", 1).cast(pl.Int16, strict=False)
        values = parsed.values.fill_null(ages)
        return Parsed(values, bad_rows(values, text))


@dataclass(frozen=True)
class Flag:
    """Reads whether something happened: 0 and 1, true and false, yes and no, their first letters, counts."""

    about: str = "flags"
    expects: str = "0 or 1, true or false, yes or no"

    def parse(self, raw: pl.Series) -> Parsed:
        if isinstance(raw.dtype, pl.Boolean):
            return Parsed(raw)
        parsed = Number().parse(raw)
        counts = parsed.values
        values = counts > 0
        bad = (counts < 0) if (counts < 0).any() else None
        if parsed.bad is not None:
            words = without_blanks(raw, text=False).str.to_lowercase() if isinstance(raw.dtype, pl.String) else raw
            values, bad = _from_words(words, values, bad, parsed.bad)
        if bad is not None:
            values = masked(values, bad)
        return Parsed(values, bad)


def _from_words(
    words: pl.Series, values: pl.Series, bad: pl.Series | None, unread: pl.Series
) -> tuple[pl.Series, pl.Series]:
    if isinstance(words.dtype, pl.String):
        said = words.is_in([*_YES, *_NO]).fill_null(value=False)
        values = values.zip_with(~said, words.is_in(_YES))
        unread = unread & ~said
    return values, unread if bad is None else unread | bad.fill_null(value=False)


def _from_parts(text: pl.Series, pattern: str, seconds: tuple[int, ...]) -> pl.Series:
    """``[N]``: the sum of the groups of ``pattern``, each worth so many seconds; null where it does not fit."""
    groups = text.str.extract_groups(pattern)
    parts = [groups.struct.field(str(at + 1)).cast(pl.Float64) * worth for at, worth in enumerate(seconds)]
    said = pl.select(pl.any_horizontal(part.is_not_null() for part in parts)).to_series()
    total = pl.select(pl.sum_horizontal(parts)).to_series()
    return masked(total, ~said)


def _nothing_fits(raw: pl.Series, dtype: pl.DataType) -> Parsed:
    """Return nulls: a column of this type holds no numbers at all."""
    return Parsed(pl.Series(raw.name, [None], dtype=dtype).new_from_index(0, len(raw)), raw.is_not_null())
