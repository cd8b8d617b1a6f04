"""What an import did with the files that it was given: kept in the manifest, shown to whoever imports."""

from __future__ import annotations

from dataclasses import dataclass


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


@dataclass(frozen=True)
class ImportReport:
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
