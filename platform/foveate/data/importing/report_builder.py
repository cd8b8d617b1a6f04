"""Gathers, while an import runs, what it does with the files that it was given."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final

import polars as pl

from foveate.data.importing.report import ColumnReport, FileReport, ImportReport
from foveate.data.readers.base import ItemTable, Source
from foveate.data.readers.convert import Column
from foveate.data.schema import ITEM_ID, ITEMS, OCCURRED_AT

_FEW: Final = 0.5
"""Where less than this share of the log's items is described, the join is worth a warning."""

_SOON_AFTER_1970: Final = 300 * 86_400_000_000
"""UTC microseconds: a year's number, a day's count or a row's number taken for seconds lies before."""


class ReportBuilder:
    """Gathers what an import does while it runs.

    Parameters
    ----------
    source
        What the reader found.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rows: dict[int, int] = {}
        self._filled: dict[str, int] = {}
        self._contacts = 0
        self._eventless = 0
        self._last: int | None = None

    def count(self, file: int, rows: int, contacts: pl.DataFrame, eventless: int) -> None:
        """Add a piece of the n-th file of the log; ``eventless`` of its contacts say that nothing happened."""
        self._eventless += eventless
        if OCCURRED_AT in contacts.columns:
            latest = contacts.select(pl.col(OCCURRED_AT).dt.epoch("us").max()).item()
            self._last = latest if self._last is None else max(self._last, latest or 0)
        self._rows[file] = self._rows.get(file, 0) + rows
        self._contacts += contacts.height
        for name in contacts.columns:
            self._filled[name] = self._filled.get(name, 0) + contacts.height - contacts[name].null_count()

    def build(self, met: Collection[str]) -> ImportReport:
        """Return the report; ``met`` are the items that the log holds."""
        source = self._source
        report = ImportReport(
            files=tuple(
                FileReport(log.table.name, log.table.about, self._rows.get(at, 0)) for at, log in enumerate(source.logs)
            ),
            skipped=source.skipped,
            columns=tuple(self._log_columns()),
            ignored={"log": _distinct(name for log in source.logs for name in log.ignored)},
            bad_rows=source.errors.bad,
            bad_examples=tuple(source.errors.examples),
            warnings=tuple(self._warnings()),
            notes=source.notes,
        )
        return describe_items(report, source.items, met)

    def _log_columns(self) -> list[ColumnReport]:
        columns: dict[tuple[str, str], Column] = {}
        for log in self._source.logs:
            for column in log.columns:
                columns.setdefault((column.ours, column.theirs), column)
        # A column that is used up in making contacts is as full as what was made of it: it is counted nowhere.
        return [_column("log", column, self._share(column.ours)) for column in columns.values()]

    def _share(self, ours: str) -> float:
        return self._filled.get(ours, self._contacts) / max(1, self._contacts)

    def _warnings(self) -> list[str]:
        warnings = [_empty(one) for one in self._log_columns() if not one.filled]
        warnings += _distinct(warning for log in self._source.logs for warning in log.warnings)
        if self._last is not None and self._last < _SOON_AFTER_1970:
            warnings.append("all times lie in 1970: they may be no seconds since then; look at them with --dry-run")
        if self._eventless:
            warnings.append(
                f"in {self._eventless:,} of {self._contacts:,} rows nothing happened: the columns that would say so "
                "are blank or no"
            )
        return warnings


def describe_items(report: ImportReport, items: ItemTable, met: Collection[str]) -> ImportReport:
    """Return a report with what it says of the table of items made anew.

    Parameters
    ----------
    met
        The items that the log holds.
    """
    log = set(met)
    described = set(items.frame[ITEM_ID].drop_nulls().to_list())
    known = len(described & log)
    columns = [_column("items", column, _share_of_items(items.frame, column.ours)) for column in items.columns]
    warnings = [*(_empty(one) for one in columns if not one.filled), *items.warnings]
    if described and known < _FEW * len(log):
        ours = min(log - described)
        theirs = min(described - log, default=None)
        example = f": the log has '{ours}'" + (f", the table '{theirs}'" if theirs else "")
        warnings.append(
            f"the table of items describes {known:,} of the log's {len(log):,} items{example}; see that both columns "
            "of ids hold the same ids"
        )
    ignored = {**(report.ignored or {}), "items": items.ignored}
    return replace(
        report,
        columns=(*(one for one in report.columns if one.table != "items"), *columns),
        ignored={table: names for table, names in ignored.items() if names},
        log_items=len(log),
        described_items=known,
        unmet_items=len(described) - known,
        item_warnings=tuple(warnings),
    )


def _share_of_items(items: pl.DataFrame, ours: str) -> float:
    filled = items[ours].is_not_null()
    if isinstance(ITEMS[ours], pl.List):
        filled &= (items[ours].list.len() > 0).fill_null(value=False)
    return float(filled.sum()) / max(1, items.height)


def _empty(column: ColumnReport) -> str:
    return f"column '{column.theirs}' of the {column.table}, read as {column.ours}, is empty"


def _column(table: str, column: Column, filled: float) -> ColumnReport:
    return ColumnReport(table, column.ours, column.theirs, column.how, column.parser.about, round(filled, 6))


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
