"""The report of an import: kept in the manifest, shown to whoever imports."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from foveate.core.tables import Tabular


@dataclass(frozen=True)
class FileReport:
    """A file that was read, as what, and how many rows it had."""

    file: str
    about: str
    rows: int


@dataclass(frozen=True)
class SkippedFile:
    """A file that was left out, and why."""

    file: str
    why: str


@dataclass(frozen=True)
class ColumnReport:
    """One of our columns, what it was made of, and the share of rows in which it holds something.

    Parameters
    ----------
    table
        ``log`` or ``items``.
    how
        ``layout``: the reader fixes it; ``named`` by a setting; of the ``same name``; or ``guessed``.
    about
        What the values were read as.
    """

    table: str
    ours: str
    theirs: str
    how: str
    about: str
    filled: float


@dataclass(frozen=True, repr=False)
class ImportReport(Tabular):
    """What an import did.

    Parameters
    ----------
    ignored
        Columns that no one read, by table.
    log_items, described_items
        Items that the log holds, and those of them that the table of items describes.
    unmet_items
        Items of that table that the log does not hold.
    bad_rows, bad_examples
        Rows that could not be read and were left out, and the first of them.
    warnings, item_warnings
        What is probably not as it was meant, of the log and of the table of items.
    notes
        What was guessed beside the columns.
    """

    files: tuple[FileReport, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()
    columns: tuple[ColumnReport, ...] = ()
    ignored: dict[str, tuple[str, ...]] | None = None
    log_items: int = 0
    described_items: int = 0
    unmet_items: int = 0
    bad_rows: int = 0
    bad_examples: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    item_warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return what was read, left out and guessed, one line each."""
        return [
            *(f"read {file.file}: {file.about}, {file.rows:,} rows" for file in self.files),
            *(f"skipped {file.file}: {file.why}" for file in self.skipped),
            *(f"ignored columns of the {table}: {', '.join(names)}" for table, names in (self.ignored or {}).items()),
            *([f"left out {self.bad_rows:,} rows that cannot be read"] if self.bad_rows else ()),
            *(f"note: {note}" for note in self.notes),
            *(f"warning: {warning}" for warning in (*self.warnings, *self.item_warnings)),
        ]

    @property
    def heading(self) -> str:
        """What was read, left out and guessed."""
        return "\n".join(self.lines())

    def frame(self) -> pl.DataFrame:
        """Return one row a column: what it was made of and how full it is."""
        names = ("table", "ours", "theirs", "how", "about")
        schema = {**dict.fromkeys(names, pl.String), "filled": pl.Float64}
        return pl.DataFrame([vars(column) for column in self.columns], schema=schema)
