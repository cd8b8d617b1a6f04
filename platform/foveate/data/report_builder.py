"""Gathers, while an import runs, what it does with the files that it was given."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from foveate.data.readers.base import Source
from foveate.data.readers.convert import Column
from foveate.data.report import ColumnReport, FileReport, ImportReport
from foveate.data.schema import ITEM_ID, ITEMS

_FEW: Final = 0.5
"""Where less than this share of the log's items is described, the join is worth a warning."""


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

    def count(self, file: int, rows: int, contacts: pl.DataFrame, eventless: int) -> None:
        """Add a piece of the n-th file of the log; ``eventless`` of its contacts say that nothing happened."""
        self._eventless += eventless
        self._rows[file] = self._rows.get(file, 0) + rows
        self._contacts += contacts.height
        for name in contacts.columns:
            self._filled[name] = self._filled.get(name, 0) + contacts.height - contacts[name].null_count()

    def build(self, met: Collection[str]) -> ImportReport:
        """Return the report; ``met`` are the items that the log holds."""
        source = self._source
        described = set(source.items[ITEM_ID].drop_nulls().to_list())
        known = len(described & set(met))
        return ImportReport(
            files=tuple(
                FileReport(log.table.name, log.table.about, self._rows.get(at, 0)) for at, log in enumerate(source.logs)
            ),
            skipped=source.skipped,
            columns=(*self._log_columns(), *self._item_columns()),
            ignored=_ignored(source),
            log_items=len(met),
            described_items=known,
            unmet_items=len(described) - known,
            bad_rows=source.errors.bad,
            bad_examples=tuple(source.errors.examples),
            warnings=tuple(self._warnings(described, met, known)),
            notes=source.notes,
        )

    def _log_columns(self) -> list[ColumnReport]:
        columns: dict[tuple[str, str], Column] = {}
        for log in self._source.logs:
            for column in log.columns:
                columns.setdefault((column.ours, column.theirs), column)
        # A column that is used up in making contacts is as full as what was made of it: it is counted nowhere.
        return [_column("log", column, self._share(column.ours)) for column in columns.values()]

    def _share(self, ours: str) -> float:
        return self._filled.get(ours, self._contacts) / max(1, self._contacts)

    def _item_columns(self) -> list[ColumnReport]:
        items = self._source.items
        reports = []
        for column in self._source.item_columns:
            filled = items[column.ours].is_not_null()
            if isinstance(ITEMS[column.ours], pl.List):
                filled &= (items[column.ours].list.len() > 0).fill_null(value=False)
            reports.append(_column("items", column, float(filled.sum()) / max(1, items.height)))
        return reports

    def _warnings(self, described: set[str], met: Collection[str], known: int) -> list[str]:
        warnings = []
        if described and met and known < _FEW * len(met):
            ours = next((one for one in met if one not in described), "")
            theirs = next((one for one in sorted(described) if one not in set(met)), "")
            example = f": the log has '{ours}', the table '{theirs}'" if theirs else ""
            warnings.append(
                f"the table of items describes {known:,} of the log's {len(met):,} items{example}; see that both "
                "columns of ids hold the same ids"
            )
        empty = [report for report in (*self._log_columns(), *self._item_columns()) if not report.filled]
        warnings += [f"column '{one.theirs}' of the {one.table}, read as {one.ours}, is empty" for one in empty]
        if self._eventless:
            warnings.append(
                f"in {self._eventless:,} of {self._contacts:,} rows nothing happened: what would tell it is blank or no"
            )
        return warnings


def _column(table: str, column: Column, filled: float) -> ColumnReport:
    return ColumnReport(table, column.ours, column.theirs, column.how, column.parser.about, round(filled, 6))


def _ignored(source: Source) -> dict[str, tuple[str, ...]]:
    logs = list(dict.fromkeys(name for log in source.logs for name in log.ignored))
    tables = {"log": tuple(logs), "items": source.item_ignored}
    return {table: names for table, names in tables.items() if names}
