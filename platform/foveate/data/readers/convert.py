"""From the columns of a raw table to ours, row by row: what a row cannot be read as is named, refused or left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import polars as pl

from foveate.core.errors import ReaderError, SchemaError
from foveate.data.raw.table import BROKEN, RawTable
from foveate.data.schema import ITEM_ID, ITEMS, USER_ID
from foveate.data.values.base import Parser
from foveate.data.values.text import CODED, FLOAT_ID, INTEGER_ID, Id
from foveate.data.values.times import (
    UNIT_NAMES,
    DateOrder,
    Time,
    TimeUnit,
    date_order,
    made_of_digits,
    undecided_dates,
    unit_name,
)

OnError: TypeAlias = Literal["refuse", "skip"]
How: TypeAlias = Literal["layout", "named", "same name", "guessed"]
Finish: TypeAlias = Callable[[pl.DataFrame], pl.DataFrame]

_HEADER: Final = "repeated header"
_LONGEST: Final = 80
"""So many characters of a bad value are shown."""
N_EXAMPLES: Final = 5
"""How many bad rows are shown."""


@dataclass(frozen=True)
class Column:
    """One of our columns, the one of theirs that it is made of, and what reads it.

    Parameters
    ----------
    how
        Whether the reader's layout fixes theirs, a setting named it, it is called as ours, or it was guessed.
    """

    ours: str
    theirs: str
    parser: Parser
    how: How = "layout"


@dataclass(frozen=True)
class Fault:
    """A row that cannot be read, from 0, why, and what else may be done than to leave it out."""

    row: int
    why: str
    otherwise: str = ""


@dataclass(frozen=True)
class Converted:
    """A piece of a table in our columns.

    Parameters
    ----------
    frame
        Without the bad rows and those that are blank throughout.
    bad
        How many rows were bad.
    faults
        The first of them.
    zones
        Times without and with a time zone, by their column.
    """

    frame: pl.DataFrame
    bad: int = 0
    faults: tuple[Fault, ...] = ()
    zones: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def convert(piece: pl.DataFrame, columns: Sequence[Column], start: int) -> Converted:
    """Read a piece of a raw table as our columns.

    Parameters
    ----------
    piece
        Holds each ``theirs``, and :data:`BROKEN` where rows may be broken.
    start
        The number of its first row in the table.
    """
    ours: list[pl.Series] = []
    bad: dict[str, pl.Series] = {}
    zones: dict[str, tuple[int, int]] = {}
    if BROKEN in piece.columns and piece[BROKEN].null_count() < piece.height:
        bad[BROKEN] = piece[BROKEN].is_not_null()
    repeated = _repeated_header(piece)
    if repeated is not None:
        bad[_HEADER] = repeated
    for column in columns:
        parsed = column.parser.parse(piece[column.theirs])
        ours.append(parsed.values.alias(column.ours))
        if parsed.naive or parsed.zoned:
            zones[column.theirs] = (parsed.naive, parsed.zoned)
        if parsed.bad is not None:
            bad[column.theirs] = parsed.bad.fill_null(value=False)
    frame = pl.DataFrame(ours)
    gone = pl.select(pl.any_horizontal(bad.values())).to_series() if bad else None
    faults = _faults(piece, columns, bad, gone, start) if gone is not None else ()
    blank = _blank_rows(piece)
    drop = gone if blank is None else blank if gone is None else gone | blank
    return Converted(
        frame if drop is None else frame.filter(~drop), 0 if gone is None else int(gone.sum()), faults, zones
    )


class RowErrors:
    """Counts the rows of an import that cannot be read, and ends it where they are too many.

    Parameters
    ----------
    on_error
        ``refuse`` ends it at the first one; ``skip`` leaves them out.
    skip_at_most
        The share of all rows that may be left out.
    """

    def __init__(self, on_error: OnError, skip_at_most: float) -> None:
        self._on_error = on_error
        self._at_most = skip_at_most
        self.bad = 0
        self.rows = 0
        self.examples: list[str] = []

    def count(self, table: RawTable, rows: int, converted: Converted) -> None:
        """Add what came of a piece of so many rows.

        Raises
        ------
        ReaderError
            A row is bad, and bad rows are refused.
        """
        self.rows += rows
        self.bad += converted.bad
        for fault in converted.faults[: N_EXAMPLES - len(self.examples)]:
            self.examples.append(f"'{table.name}', {table.position(fault.row)}: {fault.why}")
        if converted.bad and self._on_error == "refuse":
            fault = converted.faults[0]
            more = f" (and {converted.bad - 1:,} more near it)" if converted.bad > 1 else ""
            raise ReaderError(
                f"'{table.name}' cannot be read: {table.position(fault.row)}, {fault.why}{more}; mend it, or leave "
                f"such rows out with on_error=skip{fault.otherwise}"
            )

    def finish(self) -> None:
        """See that no more rows were left out than may be.

        Raises
        ------
        ReaderError
            There were more.
        """
        if self.bad > self._at_most * self.rows:
            share = (
                f"{self.bad:,} of {self.rows:,} rows cannot be read, more than skip_at_most={self._at_most:g} allows"
            )
            raise ReaderError(f"{share}: {'; '.join(self.examples)}; mend them or raise skip_at_most")


def expect_one_kind_of_zone(table: str, zones: Mapping[str, tuple[int, int]], zone: str) -> None:
    """See that not some times of a column name a time zone and others none, unless a setting says what these mean.

    Raises
    ------
    ReaderError
        A column mixes them.
    """
    for column, (naive, zoned) in zones.items():
        if naive and zoned and not zone:
            raise ReaderError(
                f"'{table}': {naive:,} times of column '{column}' name no time zone and {zoned:,} do; say where the "
                "others were written down, such as time_zone=UTC or time_zone=Europe/Berlin"
            )


def convert_table(table: RawTable, columns: Sequence[Column], errors: RowErrors, zone: str = "") -> pl.DataFrame:
    """Read a small table whole as our columns.

    Raises
    ------
    ReaderError
        It is damaged, or a row is bad and bad rows are refused.
    """
    piece = table.whole(list(dict.fromkeys(column.theirs for column in columns)))
    converted = convert(piece, columns, 0)
    errors.count(table, piece.height, converted)
    expect_one_kind_of_zone(table.name, converted.zones, zone)
    return converted.frame


def id_parser(tables: Iterable[tuple[RawTable, str]]) -> Id:
    """Return what reads ids that stand in these columns.

    Where all ids of a column end in ``.0``, that is no part of them, if those of the other columns do too or are
    integers.

    Raises
    ------
    SchemaError
        A column holds JSON objects or lists.
    """
    tables = list(tables)
    coded = any(table.coded for table, _ in tables)
    texts = [(table, column) for table, column in tables if isinstance(table.schema[column], pl.String)]
    samples = [Id().parse(table.head([column])[column]).values.drop_nulls() for table, column in texts]
    for (table, column), sample in zip(texts, samples, strict=True):
        if sample.str.contains(CODED).any():
            raise SchemaError(table.name, [f"column '{column}' holds objects or lists; take the ids out into columns"])
    forms = [next((form for form in (INTEGER_ID, FLOAT_ID) if _all(form, sample)), None) for sample in samples]
    if FLOAT_ID not in forms or None in forms:
        return Id(coded=coded)
    # A tool writes whole numbers as floats in a file that has blanks, and as they are in another.
    pieces = (
        (form, piece[column])
        for form, (table, column) in zip(forms, texts, strict=True)
        for piece in table.pieces([column])
    )
    return Id(all(_all(str(form), Id().parse(ids).values.drop_nulls()) for form, ids in pieces), coded)


def time_parser(
    table: RawTable,
    column: str,
    *,
    unit: TimeUnit = "auto",
    zone: str = "",
    order: DateOrder = "auto",
    years: bool = False,
) -> Time:
    """Return what reads the times of a column, with what its first rows tell of their form.

    Raises
    ------
    ReaderError
        A date could be the third of April or the fourth of March, and no other date of the column tells.
    """
    sample = table.head()[column]
    about = "times"
    digits = False
    if sample.dtype.is_numeric() or isinstance(sample.dtype, pl.String):
        text = sample.dtype == pl.String
        numbers = sample.cast(pl.Float64, strict=False)
        numbers = numbers.filter(numbers.is_finite())
        if len(numbers):
            whole = sample.cast(pl.Int64, strict=False)
            digits = unit == "auto" and made_of_digits(
                whole if whole.drop_nulls().len() == len(numbers) else numbers.cast(pl.Int64, strict=False)
            )
            found = UNIT_NAMES[unit] if unit != "auto" else unit_name(numbers)
            about = "dates as numbers" if digits else f"{found} since 1970"
            if sample.dtype == pl.Float32:
                about += ", which 32-bit floats hold to two minutes only"
        elif text and sample.null_count() < len(sample):
            about = f"times as text, in {zone or 'UTC'} where they name no zone"
        if text and order == "auto":
            order, about = _order_of(table, column, sample, about)
    return Time(unit, zone, order, digits, years, about)


def cut_ids(table: RawTable, column: str) -> list[str]:
    """Return a note where ids are such as 7.04E+17, which is what a spreadsheet makes of long numbers."""
    ids = table.head([column])[column]
    if not isinstance(ids.dtype, pl.String):
        return []
    return [
        f"column '{column}' of '{table.name}' holds ids such as {one}: a spreadsheet has cut their digits, and "
        "different ids may have become one; export them as text"
        for one in ids.filter(ids.str.contains(r"^\d(?:[.,]\d+)?[eE]\+\d+$")).head(1)
    ]


def _all(form: str, ids: pl.Series) -> bool:
    return bool(ids.str.contains(form).all())


def expect_columns(table: str, found: Iterable[str], wanted: Iterable[str]) -> None:
    """Check that all columns are there.

    Raises
    ------
    SchemaError
        Some are not: all of them are named.
    """
    known = list(found)
    missing = [name for name in wanted if name not in known]
    if missing:
        faults = [f"column '{name}' is missing" for name in missing]
        raise SchemaError(table, [*faults, f"it holds: {', '.join(known)}"])


def _order_of(table: RawTable, column: str, sample: pl.Series, about: str) -> tuple[DateOrder, str]:
    if not undecided_dates(sample).any():
        return "auto", about
    text = pl.concat(piece[column] for piece in table.pieces([column]))
    order = date_order(text)
    if order is None:
        row = int(undecided_dates(text).arg_true()[0])
        raise ReaderError(
            f"'{table.name}' cannot be read: {table.position(row)}, column '{column}' holds \"{text[row]}\", which "
            "could start with the day or with the month; say date_order=dmy or date_order=mdy"
        )
    first = {"dmy": "the day first", "mdy": "the month first", "auto": ""}[order]
    return order, f"dates with {first}" if first else about


def _faults(
    piece: pl.DataFrame, columns: Sequence[Column], bad: Mapping[str, pl.Series], gone: pl.Series, start: int
) -> tuple[Fault, ...]:
    found = {column.theirs: column for column in columns}
    faults = []
    for row in gone.arg_true().head(N_EXAMPLES).to_list():
        name = next(name for name, mask in bad.items() if mask[row])
        if name == BROKEN:
            faults.append(Fault(start + row, f"the row {piece[BROKEN][row]}"))
        elif name == _HEADER:
            faults.append(Fault(start + row, "the row repeats the names of the columns"))
        else:
            column = found[name]
            why = f"column '{name}' holds \"{_shown(piece[name][row])}\", not {column.parser.expects}"
            faults.append(Fault(start + row, why, _without(column)))
    return tuple(faults)


def _without(column: Column) -> str:
    """Say how to do without a column that a table of the user's own happens to have."""
    if column.how not in ("guessed", "same name") or column.ours in (USER_ID, ITEM_ID):
        return ""
    return f", or the column with {'item_columns' if column.ours in ITEMS else 'columns'}.{column.ours}=none"


def _shown(value: object) -> str:
    text = " ".join(str(value.to_list() if isinstance(value, pl.Series) else value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _repeated_header(piece: pl.DataFrame) -> pl.Series | None:
    """Return which rows hold the names of the columns, as where files were put together; None where none does."""
    names = [name for name, dtype in piece.schema.items() if name != BROKEN and isinstance(dtype, pl.String)]
    if not names or not (piece[names[0]] == names[0]).any():
        return None
    found = piece.select(pl.all_horizontal(pl.col(name) == name for name in names).fill_null(value=False)).to_series()
    return found if found.any() else None


def _blank_rows(piece: pl.DataFrame) -> pl.Series | None:
    """Return which rows hold nothing at all, as a blank line does; None where none is so."""
    names = [name for name in piece.columns if name != BROKEN]
    if not all(isinstance(piece.schema[name], pl.String) and piece[name].null_count() for name in names):
        return None
    return piece.select(pl.all_horizontal(pl.col(name).is_null() for name in names)).to_series()
