"""Moments: numbers since 1970 in any unit, dates as numbers, ISO 8601, dates with slashes, typed columns."""

from __future__ import annotations

import calendar
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import polars as pl

from foveate.data.schema import TIMESTAMP
from foveate.data.values.base import Parsed, bad_rows, masked, without_blanks

TimeUnit: TypeAlias = Literal["auto", "s", "ms", "us", "ns"]
DateOrder: TypeAlias = Literal["auto", "dmy", "mdy"]

_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_LIMIT_SECONDS: Final = 100_000_000_000
"""The year 5138: a number of that size or more is in a finer unit."""
_LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999, the last that Python's and Polars' dates know."""

UNIT_NAMES: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_DIGITS: Final = (8, 10, 12, 14, 17)
"""How many digits dates have as numbers: to the day, hour, minute, second and millisecond."""

_CLOCK: Final = r"(?:[Tt ,_:]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*([AaPp][Mm])?)?"
_ZONE: Final = r"\s*(Z|z|(?:UTC|GMT)?[+-]\d{2}(?::?\d{2})?|UTC|GMT)?(?:\[[\w/+-]+\]|\s*\([\w ]+\))?"
"""A zone's name may stand behind its offset, as JavaScript and Java write it."""
_WEEKDAY: Final = r"(?:[A-Za-z]{3,9},?\s+)?"
_YEAR_FIRST: Final = rf"^(\d{{4}})[-/.](\d{{1,2}})[-/.](\d{{1,2}}){_CLOCK}{_ZONE}$"
_COMPACT: Final = (
    rf"^(\d{{4}})(\d{{2}})(\d{{2}})[Tt ](\d{{2}}):?(\d{{2}})(?::?(\d{{2}})(?:[.,](\d{{1,9}}))?)?()?{_ZONE}$"
)
_YEAR_LAST: Final = rf"^(\d{{1,2}})[-/.](\d{{1,2}})[-/.](\d{{4}}){_CLOCK}{_ZONE}$"
_DAY_MONTH_NAME: Final = rf"^{_WEEKDAY}(\d{{1,2}})[-/ ]([A-Za-z]{{3,9}})[-/, ]+(\d{{4}}){_CLOCK}{_ZONE}$"
_MONTH_NAME_DAY: Final = rf"^{_WEEKDAY}([A-Za-z]{{3,9}})\s+(\d{{1,2}}),?\s+(\d{{4}}){_CLOCK}{_ZONE}$"
_YEAR_AT_THE_END: Final = (
    r"^(?:[A-Za-z]{3,9},?\s+)?([A-Za-z]{3,9})\s+(\d{1,2})\s+(\d{1,2}):(\d{2}):(\d{2})()()\s+"
    r"(?:(UTC|GMT|[+-]\d{4})\s+)?(\d{4})$"
)
"""As C's ctime and Twitter write: Wed May 01 12:00:00 +0000 2024."""
_UNDECIDED: Final = r"^(0?[1-9]|1[0-2])([-/])(0?[1-9]|1[0-2])[-/]\d{4}"
"""A date whose first two numbers could each be the month; one with dots starts with the day."""
_DAY_FIRST: Final = r"^(1[3-9]|2\d|3[01])[-/]\d{1,2}[-/]\d{4}"
_MONTH_FIRST: Final = r"^\d{1,2}[-/](1[3-9]|2\d|3[01])[-/]\d{4}"

_MONTHS: Final = {
    **{name.lower(): at for at, name in enumerate(calendar.month_name) if name},
    **{name.lower(): at for at, name in enumerate(calendar.month_abbr) if name},
    "sept": 9,
}


@dataclass(frozen=True)
class Time:
    """Reads moments as UTC microseconds.

    Parameters
    ----------
    unit
        Of numbers since 1970; ``auto`` detects it by the size of each.
    zone
        Of text and typed times that name none; empty means UTC.
    order
        Of dates such as 03/04/2024; ``auto`` knows only those with a number above 12.
    digits
        Whether a number of 8 or 14 digits is a date or a date and a time, such as 20240501 or 20240501120000.
    years
        Whether a number of four digits is a year, as in the date that a film came out.
    """

    unit: TimeUnit = "auto"
    zone: str = ""
    order: DateOrder = "auto"
    digits: bool = False
    years: bool = False
    about: str = "times"

    @property
    def expects(self) -> str:
        if self.unit == "auto":
            return "a time: a number since 1970 or ISO 8601, such as 2024-05-01T12:00:00Z"
        return (
            f"a time: ISO 8601, such as 2024-05-01T12:00:00Z, or a number since 1970 in {self.unit}, not after the "
            "year 9999; time_unit=auto tells the unit by its size"
        )

    def parse(self, raw: pl.Series) -> Parsed:
        dtype = raw.dtype
        if isinstance(dtype, pl.String):
            return self._text(raw)
        if isinstance(dtype, (pl.Datetime, pl.Date)):
            return self._typed(raw)
        if dtype.is_integer():
            values = self._whole_numbers(raw.cast(pl.Int64, strict=False))
            return Parsed(values, bad_rows(values, raw))
        if dtype.is_numeric():
            known = raw.cast(pl.Float64).fill_nan(None)
            values = self._numbers(known)
            return Parsed(values, bad_rows(values, known))
        return Parsed(_nothing(raw), raw.is_not_null())

    def _typed(self, raw: pl.Series) -> Parsed:
        if isinstance(raw.dtype, pl.Datetime) and raw.dtype.time_zone:
            return Parsed(raw.dt.cast_time_unit("us").dt.convert_time_zone("UTC"))
        values = self._in_zone(raw.cast(pl.Datetime("us")))
        return Parsed(values, bad_rows(values, raw))

    def _text(self, raw: pl.Series) -> Parsed:
        numbers = raw.cast(pl.Int64, strict=False)
        if numbers.null_count() == raw.null_count():
            values = self._whole_numbers(numbers)
            return Parsed(values, bad_rows(values, raw))
        quick = self._one_format(raw)
        if quick is not None:
            return quick
        text = without_blanks(raw, text=False)
        integers = text.cast(pl.Int64, strict=False)
        values = self._whole_numbers(integers)
        floats = masked(text.cast(pl.Float64, strict=False), integers.is_not_null())
        values = values.fill_null(self._numbers(floats.fill_nan(None)))
        rest = masked(text, integers.is_not_null() | floats.is_not_null())
        written, zoned = self._written(rest)
        values = values.fill_null(written)
        n_zoned = int((zoned & written.is_not_null()).sum())
        return Parsed(values, bad_rows(values, text), written.len() - written.null_count() - n_zoned, n_zoned)

    def _one_format(self, raw: pl.Series) -> Parsed | None:
        """Read a column of ISO 8601 in one and the same form, which Polars reads many times faster."""
        first = raw.drop_nulls().head(1)
        if first.is_empty() or not first.str.contains(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}")[0]:
            return None
        text: str = first[0]
        form = f"%Y-%m-%d{text[10]}%H:%M:%S%.f"
        rest = text[19:].lstrip(".0123456789")
        ending = "%z" if rest[:1] in ("+", "-") else rest
        if ending not in ("", "%z", "Z", " UTC"):
            return None
        values = raw.str.to_datetime(form + ending, time_unit="us", strict=False)
        if values.null_count() != raw.null_count():
            return None
        count = len(raw) - raw.null_count()
        if ending == "":
            there = self._in_zone(values)
            return Parsed(there, bad_rows(there, raw), naive=count)
        utc = values.dt.convert_time_zone("UTC") if ending == "%z" else values.dt.replace_time_zone("UTC")
        return Parsed(utc, zoned=count)

    def _whole_numbers(self, numbers: pl.Series) -> pl.Series:
        """``[N]``: the moments of integers; null where one is no moment."""
        values = _shift(numbers, self.unit)
        if self.digits:
            for digits in _DIGITS:
                values = _dates(numbers, values, digits, 10 ** (digits - 1), 10**digits)
        if self.years:
            values = _dates(numbers, values, 4, 1800, 2200)
        return values

    def _numbers(self, numbers: pl.Series) -> pl.Series:
        """``[N]``: the moments of floats; a whole number is taken as an integer, which loses nothing."""
        integral = (numbers == numbers.floor()) & (numbers.abs() < 2**63)
        whole = masked(numbers, ~integral).cast(pl.Int64, strict=False)
        values = self._whole_numbers(whole)
        if values.null_count() == numbers.null_count():
            return values
        size = numbers.abs()
        micros = pl.Series(numbers.name, [None], dtype=pl.Float64).new_from_index(0, len(numbers))
        for unit, low, high in _ranges(self.unit):
            within = (size >= low) & (size < high)
            micros = micros.fill_null(masked(numbers, ~within) * (1_000_000 / _PER_SECOND[unit]))
        fractions = masked(micros, integral).round(0).cast(pl.Int64, strict=False)
        return values.fill_null(fractions.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))

    def _written(self, text: pl.Series) -> tuple[pl.Series, pl.Series]:
        """``[N], [N]``: the moments of text, and whether it names its zone."""
        values, zoned = _nothing(text), pl.Series([False]).new_from_index(0, len(text))
        if text.null_count() == len(text):
            return values, zoned
        order = {"dmy": "dmy", "mdy": "mdy"}.get(self.order)
        forms = [
            (_YEAR_FIRST, "ymd"),
            (_COMPACT, "ymd"),
            (_DAY_MONTH_NAME, "dmy"),
            (_MONTH_NAME_DAY, "mdy"),
            (_YEAR_AT_THE_END, "mdy"),
        ]
        if order is not None:
            forms.append((_YEAR_LAST, order))
        else:
            # Dots stand in dates that start with the day.
            forms += [(_YEAR_LAST.replace("[-/.]", r"\."), "dmy"), (_YEAR_LAST, "certain")]
        for pattern, parts in forms:
            if values.null_count() == text.null_count():
                break
            groups = masked(text, values.is_not_null()).str.extract_groups(pattern)
            fields = [groups.struct.field(str(at)) for at in range(1, 10)]
            if pattern is _YEAR_AT_THE_END:
                fields = [*fields[:2], fields[8], *fields[2:8]]
            found, offsets = _assembled(fields, parts)
            local = self._in_zone(masked(found, offsets.is_not_null()))
            shifted = (found.dt.epoch("us") - offsets * 60_000_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
            zoned = zoned | (values.is_null() & offsets.is_not_null())
            values = values.fill_null(local.fill_null(shifted))
        return values, zoned

    def _in_zone(self, local: pl.Series) -> pl.Series:
        if self.zone in ("", "UTC"):
            return local.dt.replace_time_zone("UTC")
        # Of an hour that comes twice in autumn the first is meant; one that never is stands for no time.
        there = local.dt.replace_time_zone(self.zone, ambiguous="earliest", non_existent="null")
        return there.dt.convert_time_zone("UTC")


def date_order(text: pl.Series) -> DateOrder | None:
    """Return the order of day and month in dates with slashes, as far as the text decides it.

    Returns
    -------
    DateOrder | None
        ``dmy`` or ``mdy`` where a number above 12 decides it, ``auto`` where no date is in doubt, None where one is.
    """
    day_first, month_first, undecided = (
        bool(text.str.contains(pattern).any()) for pattern in (_DAY_FIRST, _MONTH_FIRST, _UNDECIDED)
    )
    if day_first != month_first:
        return "dmy" if day_first else "mdy"
    return None if undecided else "auto"


def undecided_dates(text: pl.Series) -> pl.Series:
    """``[N]``: whether a date's first two numbers could each be the month."""
    return text.str.contains(_UNDECIDED).fill_null(value=False)


def made_of_digits(numbers: pl.Series) -> bool:
    """Whether all of these integers are the digits of dates of the years 1900 to 2100."""
    known = numbers.drop_nulls()
    if known.is_empty() or not known.is_between(19_000_101, 21_001_231_235_959_999).all():
        return False
    years = as_dates(known, int(math.log10(known[0])) + 1).dt.year()
    return years.null_count() == 0 and bool(years.is_between(1900, 2100).all())


def unit_name(numbers: pl.Series) -> str:
    """Return the unit that most of these numbers since 1970 are read in, for people."""
    size = float(np.median(numbers.abs().to_numpy()))
    found = next(one for one, low, high in _ranges("auto") if low <= size < high)
    return UNIT_NAMES[found]


def _ranges(unit: TimeUnit) -> list[tuple[str, float, float]]:
    """Return each unit that a number may be in, with the sizes for which it is taken."""
    if unit != "auto":
        return [(unit, 0, (_LAST_SECOND + 1) * _PER_SECOND[unit])]
    low, ranges = 0.0, []
    for one, per_second in _PER_SECOND.items():
        high = float("inf") if one == "ns" else float(_LIMIT_SECONDS * per_second)
        ranges.append((one, low, high))
        low = high
    return ranges


def _shift(numbers: pl.Series, unit: TimeUnit) -> pl.Series:
    low, high = _extremes(numbers)
    micros = pl.Series(numbers.name, [None], dtype=pl.Int64).new_from_index(0, len(numbers))
    for one, start, end in _ranges(unit):
        if low is None or high is None or low <= -end or high >= end or (low < start and high > -start):
            # Not all numbers are in this unit: each is judged by itself.
            size = numbers.abs()
            micros = micros.fill_null(_to_micros(masked(numbers, (size < start) | (size >= end)), one))
        elif start <= low or high <= -start:
            return _to_micros(numbers, one).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _extremes(numbers: pl.Series) -> tuple[int, int] | tuple[None, None]:
    known = numbers.drop_nulls().to_numpy()
    return (int(known.min()), int(known.max())) if len(known) else (None, None)


def _to_micros(numbers: pl.Series, unit: str) -> pl.Series:
    per_second = _PER_SECOND[unit]
    if per_second > 1_000_000:
        return numbers // (per_second // 1_000_000)
    return numbers * (1_000_000 // per_second) if per_second < 1_000_000 else numbers


def _dates(numbers: pl.Series, values: pl.Series, digits: int, first: int, end: int) -> pl.Series:
    """Take the numbers from ``first`` to before ``end`` for the digits of a date; one that is no date is no moment."""
    within = ((numbers >= first) & (numbers < end)).fill_null(value=False)
    return values.zip_with(~within, as_dates(masked(numbers, ~within), digits)) if within.any() else values


def as_dates(numbers: pl.Series, digits: int) -> pl.Series:
    """``[N]``: the moments whose digits the numbers are; null where they make no date, or have more or fewer digits."""
    text = numbers.cast(pl.String)
    text = masked(text, text.str.len_bytes() != digits)
    if digits == 4:
        text = text + "0101"
    # Polars' parser takes no digits of a time without a mark after the date.
    marked = text.str.pad_end(17, "0").str.replace(r"^(\d{8})(\d{6})", "${1}T${2}.")
    return marked.str.to_datetime("%Y%m%dT%H%M%S%.f", time_unit="us", strict=False).dt.replace_time_zone("UTC")


def _assembled(fields: Sequence[pl.Series], parts: str) -> tuple[pl.Series, pl.Series]:
    """``[N], [N]``: the local moments of a pattern's fields, and their zones' minutes, null where none is named."""
    first, second, third, hour, minute, second_of, fraction, half, zone = fields
    hours = hour.cast(pl.Int32, strict=False)
    half = half.str.to_lowercase()
    hours = hours.zip_with(~(half == "am").fill_null(value=False), hours % 12)
    hours = hours.zip_with(~(half == "pm").fill_null(value=False), hours % 12 + 12)
    clock = [hours.fill_null(0).cast(pl.String).str.zfill(2), minute.fill_null("00"), second_of.fill_null("00")]
    fraction = fraction.fill_null("0").str.pad_end(9, "0").str.slice(0, 6)
    if parts == "certain":
        # One of the two numbers is above 12: that one is the day.
        swap = (second.cast(pl.Int32, strict=False) > 12).fill_null(value=False)
        sure = swap | (first.cast(pl.Int32, strict=False) > 12).fill_null(value=False)
        day, month, year = first.zip_with(~swap, second), second.zip_with(~swap, first), masked(third, ~sure)
    else:
        named = dict(zip(parts, (first, second, third), strict=True))
        day, month, year = named["d"], named["m"], named["y"]
    if month.str.contains("[A-Za-z]").any():
        month = month.str.to_lowercase().replace_strict(_MONTHS, default=None, return_dtype=pl.Int32).cast(pl.String)
    date = year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)
    text = date + " " + clock[0] + ":" + clock[1] + ":" + clock[2] + "." + fraction
    return text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False), _offset(zone)


def _offset(zone: pl.Series) -> pl.Series:
    """``[N]``: minutes east of UTC."""
    parts = zone.str.extract_groups(r"^(?:UTC|GMT)?([+-])(\d{2}):?(\d{2})?$")
    sign = (parts.struct.field("1") == "-").cast(pl.Int64) * -2 + 1
    minutes = parts.struct.field("2").cast(pl.Int64) * 60 + parts.struct.field("3").fill_null("0").cast(pl.Int64)
    named = zone.str.to_uppercase().is_in(["Z", "UTC", "GMT"])
    return (sign * minutes).zip_with(~named.fill_null(value=False), pl.Series([0]).new_from_index(0, len(zone)))


def _nothing(raw: pl.Series) -> pl.Series:
    return pl.Series(raw.name, [None], dtype=TIMESTAMP).new_from_index(0, len(raw))
