"""The report of an import, as the command line shows it."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from foveate.core.errors import UnknownColumnsError
from foveate.data.importing.report import ImportReport

_FEW = 12
"""So many names of ignored columns and skipped files are shown."""


def show_source(report: ImportReport, console: Console) -> None:
    """Print which files were read as what, which columns became ours, and what was left out."""
    for file in report.files[:_FEW]:
        console.print(f"read     {file.file}: {file.about}, {file.rows:,} rows", markup=False)
    if len(report.files) > _FEW:
        console.print(f"read     and {len(report.files) - _FEW:,} more files", markup=False)
    for table in ("log", "items"):
        _show_columns(report, table, console)
    for table, names in (report.ignored or {}).items():
        console.print(f"ignored  columns of the {table}: {_some(names)}", markup=False)
    if report.skipped:
        console.print(f"skipped  {_some([f'{one.file} ({one.why})' for one in report.skipped])}", markup=False)
    if report.described_items or report.unmet_items:
        console.print(
            f"joined   {report.described_items:,} of the log's {report.log_items:,} items are described; "
            f"{report.unmet_items:,} described items are not in the log",
            markup=False,
        )
    for note in report.notes:
        console.print(f"note     {note}", markup=False)
    if report.bad_rows:
        console.print(f"left out {report.bad_rows:,} rows that cannot be read:", markup=False, style="yellow")
        for example in report.bad_examples:
            console.print(f"         {example}", markup=False)
    for warning in (*report.warnings, *report.item_warnings):
        console.print(f"warning  {warning}", markup=False, style="yellow")


def show_unknown(error: UnknownColumnsError, console: Console) -> None:
    """Print the columns of a log that has no known viewers or items, with what each is taken for."""
    shown = Table("their column", "holds, for example", "read as", "known by", box=None, pad_edge=False)
    for row in error.columns:
        shown.add_row(*map(escape, row))
    console.print(f"columns  of {error.table}", markup=False)
    console.print(shown)


def _show_columns(report: ImportReport, table: str, console: Console) -> None:
    columns = [column for column in report.columns if column.table == table]
    if not columns:
        return
    shown = Table(table, "their column", "known by", "read as", "full", box=None, pad_edge=False)
    for column in columns:
        full = f"{column.filled:.0%}" if column.filled in (0, 1) else f"{column.filled:.1%}"
        shown.add_row(*map(escape, (column.ours, column.theirs, column.how, column.about, full)))
    console.print(shown)


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _FEW:,} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more
