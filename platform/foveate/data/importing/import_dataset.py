"""From raw files to a dataset folder: read in pieces, clean, cut by viewer, sort, derive, write.

The log passes twice: once in pieces of the file, once in parts that hold whole viewers. Neither needs it in memory.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import polars as pl
import pyarrow.parquet as pq

from foveate.core.config import to_dict
from foveate.core.errors import DataError
from foveate.data.cleaning.base import CleaningContext, Pipeline, Tally
from foveate.data.dataset import MANIFEST, Dataset, Manifest, hash_tables, open_dataset
from foveate.data.importing.contacts import AS_SERVED, CONTACTS, DID, ROW, pack
from foveate.data.importing.derive import derive
from foveate.data.importing.report import ImportReport
from foveate.data.importing.report_builder import ReportBuilder
from foveate.data.importing.spool import Spool
from foveate.data.raw.files import plain_files
from foveate.data.raw.table import as_frame
from foveate.data.readers.base import Reader, Source
from foveate.data.readers.convert import Converted, expect_one_kind_of_zone
from foveate.data.readers.table import TableReader
from foveate.data.schema import EVENT_ID, ITEM_ID, OCCURRED_AT, TABLES, USER_ID, VALUE, as_items
from foveate.storage.files import check_free, staged_folder
from foveate.storage.folder import Place

_DISTINCT = frozenset({"impression_id", "event_id", VALUE, OCCURRED_AT, "shown_at"})

_TYPES = {**CONTACTS, **AS_SERVED}

Progress = Callable[[str], None]


def import_dataset(
    reader: Reader, path: Place, out: Path, progress: Progress | None = None, *, now: int | None = None
) -> Dataset:
    """Import a raw log; nothing is left at ``out`` unless all went well.

    Parameters
    ----------
    reader
        Knows the layout of ``path``.
    path
        A file or folder, as the reader wants it, packed or not; or its address, such as ``s3://bucket/logs``.
    out
        The dataset folder to make.
    progress
        Called with one line of news a piece.
    now
        UTC microseconds; no event may be later. None takes this machine's clock.

    Raises
    ------
    OutputExistsError
        ``out`` already holds something.
    DataError
        The log cannot be read, is empty, or holds fewer than two viewers or items.
    """
    check_free(out)
    with staged_folder(out) as folder, plain_files(path, folder) as plain:
        import_source(reader, reader.read(plain), folder, progress, now=now)
    return open_dataset(out)


def import_tables(
    log: object,
    out: Path,
    reader: TableReader | None = None,
    *,
    items: object = None,
    progress: Progress | None = None,
    now: int | None = None,
) -> Dataset:
    """Import a log that is in memory, as :func:`import_dataset` imports files.

    Parameters
    ----------
    log, items
        Tables of Polars, pandas or Arrow.
    reader
        How their columns are named, and the other settings of a ``table`` reader; None guesses.

    Raises
    ------
    OutputExistsError, DataError
        As :func:`import_dataset`.
    """
    settings = reader or TableReader()
    check_free(out)
    source = settings.read_tables(as_frame(log), None if items is None else as_frame(items))
    with staged_folder(out) as folder:
        import_source(settings, source, folder, progress, now=now)
    return open_dataset(out)


@dataclass(frozen=True)
class Preview:
    """The first rows of an import as they would be stored, and what it would do."""

    report: ImportReport
    events: pl.DataFrame
    items: pl.DataFrame


def preview(reader: Reader, path: Place, rows: int = 10_000) -> Preview:
    """Import the first rows of each file of a log, and write nothing.

    Parameters
    ----------
    reader, path
        As for :func:`import_dataset`.
    rows
        How many rows of each file.

    Raises
    ------
    DataError
        As :func:`import_dataset`.
    """
    with TemporaryDirectory(prefix="foveate-") as scratch, plain_files(path) as plain:
        source = reader.read(plain)
        source = replace(source, logs=tuple(replace(log, table=log.table.first(rows)) for log in source.logs))
        folder = Path(scratch) / "preview"
        folder.mkdir()
        import_source(reader, source, folder, fewest=1)
        dataset = open_dataset(folder)
        report = dataset.manifest.source or ImportReport()
        return Preview(report, dataset.events.collect(), dataset.items)


def import_source(
    reader: Reader,
    source: Source,
    folder: Path,
    progress: Progress | None = None,
    *,
    now: int | None = None,
    fewest: int = 2,
) -> None:
    """Write what a reader found into an empty folder, as :func:`import_dataset` does.

    Parameters
    ----------
    fewest
        A log of fewer viewers or items is refused; with 0 one without a row is not.

    Raises
    ------
    DataError
        As :func:`import_dataset`.
    """
    context = CleaningContext(time.time_ns() // 1000 if now is None else now, source.same)
    job = _Import(source, context, folder, progress or (lambda _: None), fewest)
    report = job.run()
    manifest = job.manifest(reader, report)
    (folder / MANIFEST).write_text(json.dumps(to_dict(manifest), indent=2), encoding="utf-8")


@dataclass(frozen=True)
class _Part:
    """What one part of the log came to."""

    users: pl.Series
    items: pl.Series
    rows: dict[str, int]
    times: tuple[int, int] | None
    tallies: dict[str, Tally]


class _Import:
    """One import under way."""

    def __init__(self, source: Source, context: CleaningContext, folder: Path, tell: Progress, fewest: int) -> None:
        self._source = source
        self._folder = folder
        self._tell = tell
        self._fewest = fewest
        self._cleaning = {table: Pipeline(table, context) for table in ("log", "items", "viewers")}
        self._rows = dict.fromkeys(TABLES, 0)
        self._times: list[int] = []
        self._report = ReportBuilder(source)

    def run(self) -> ImportReport:
        """Write all four tables; returns what was done with the files."""
        users: list[pl.Series] = []
        items: set[str] = set()
        with TemporaryDirectory(dir=self._folder, prefix=".spool.") as spooled:
            spool = Spool(Path(spooled))
            self._fill(spool)
            for part in in_order(partial(self._write_part, spool), enumerate(spool.parts())):
                users.append(part.users)
                items.update(part.items.to_list())
                self._count(part)
        n_users = sum(map(len, users))
        if min(n_users, len(items)) < self._fewest:
            raise DataError(
                f"the log holds {n_users} viewer(s) and {len(items)} item(s) that were met; nothing can be learned "
                "from fewer than two of each: import a larger log"
            )
        self._complete("items", as_items(self._source.items.frame), ITEM_ID, sorted(items))
        met = pl.concat(users).sort().to_list() if users else []
        self._complete("viewers", self._source.viewers, USER_ID, met)
        return self._report.build(items)

    def manifest(self, reader: Reader, report: ImportReport) -> Manifest:
        """Say what was imported."""
        return Manifest(
            reader=reader.name,
            simulated=False,
            rows=self._rows,
            first=min(self._times, default=None),
            last=max(self._times, default=None),
            content_hash=hash_tables(self._folder),
            positive_kinds=self._source.positive_kinds,
            settings={name: value for name, value in to_dict(reader).items() if name != "name"},
            cleaning=tuple(step for table in self._cleaning.values() for step in table.reports()),
            source=report,
            own_event_ids=self._source.own_event_ids
            or any(column.ours == EVENT_ID and column.filled == 1 for column in report.columns),
        )

    def _fill(self, spool: Spool) -> None:
        """Read the log in pieces, and put each, cleaned, where its viewers' other rows will be found."""

        def put(piece: _Piece) -> tuple[_Piece, Converted, dict[str, Tally], int]:
            found = self._source.logs[piece.file].convert(piece.start, piece.rows)
            contacts = found.frame.select(pl.col(name).cast(_TYPES[name]) for name in found.frame.columns)
            numbered = contacts.with_columns(
                pl.int_range(piece.row, piece.row + contacts.height, dtype=pl.Int64).alias(ROW)
            )
            cleaned, tallies = self._cleaning["log"].clean(numbered, whole=False)
            packed = pack(cleaned)
            spool.put(piece.number, packed)
            return piece, found, tallies, int((packed[DID] == 0).sum())

        zones: dict[int, dict[str, tuple[int, int]]] = {}
        for piece, found, tallies, eventless in in_order(put, _pieces(self._source)):
            table = self._source.logs[piece.file].table
            self._source.errors.count(table, piece.rows.height, found)
            self._report.count(piece.file, piece.rows.height, found.frame, eventless)
            self._cleaning["log"].count(tallies)
            for column, counts in found.zones.items():
                before = zones.setdefault(piece.file, {}).get(column, (0, 0))
                zones[piece.file][column] = (before[0] + counts[0], before[1] + counts[1])
            self._tell(f"read {piece.row + piece.rows.height:,} rows")
        for file, columns in zones.items():
            expect_one_kind_of_zone(self._source.logs[file].table.name, columns, self._source.zone)
        self._source.errors.finish()
        if not len(spool) and self._fewest:
            dropped = ", ".join(f"{r.dropped:,} by '{r.step}'" for r in self._cleaning["log"].reports() if r.dropped)
            raise DataError(f"the log is empty: it holds no usable row; dropped by cleaning: {dropped or 'none'}")

    def _write_part(self, spool: Spool, part: tuple[int, tuple[int, int]]) -> _Part:
        number, buckets = part
        contacts, tallies = self._cleaning["log"].clean(spool.read(*buckets), whole=True)
        rows = {}
        for table, frame in zip(("impressions", "events"), derive(contacts), strict=True):
            self._write(f"{table}/part-{number:04d}.parquet", frame)
            rows[table] = frame.height
        return _Part(contacts[USER_ID].unique(), contacts[ITEM_ID].unique(), rows, _time_range(contacts), tallies)

    def _count(self, part: _Part) -> None:
        for table, rows in part.rows.items():
            self._rows[table] += rows
        self._times += part.times or ()
        self._cleaning["log"].count(part.tallies)
        self._tell(f"wrote {self._rows['events']:,} events")

    def _complete(self, table: str, known: pl.DataFrame, key: str, met: list[str]) -> None:
        """Write a small table: what the source knows, and after it what only the log does."""
        frame = complete(table, self._cleaning[table].clean_all(known), key, met)
        self._rows[table] = frame.height
        self._write(f"{table}.parquet", frame)

    def _write(self, name: str, frame: pl.DataFrame) -> None:
        target = self._folder / name
        target.parent.mkdir(exist_ok=True)
        dictionary = [column for column in frame.columns if column not in _DISTINCT]
        # Chosen by measuring: lz4 takes half of zstd's time for a third more bytes, and trying a dictionary on columns
        # whose values hardly repeat takes longer than writing them.
        pq.write_table(
            frame.to_arrow(),
            target,
            compression="lz4",
            use_dictionary=dictionary,
            write_statistics=[USER_ID, OCCURRED_AT],
        )


def complete(table: str, known: pl.DataFrame, key: str, met: Iterable[str]) -> pl.DataFrame:
    """Return a table of items or viewers that has a row for everything the log holds.

    Parameters
    ----------
    table
        ``items`` or ``viewers``.
    known
        What their source knows.
    key
        The column of their ids.
    met
        The ids that the log holds.
    """
    ids = set(known[key].to_list())
    more = pl.DataFrame({key: [id_ for id_ in met if id_ not in ids]}, schema={key: pl.String})
    return pl.concat([known, more], how="diagonal").select(
        pl.col(name).cast(dtype) for name, dtype in TABLES[table].items()
    )


@dataclass(frozen=True)
class _Piece:
    """A piece of the log as it stands in its file.

    Parameters
    ----------
    number
        Of the piece in the log.
    row
        Of its first row in the log.
    file, start
        Of the file in the log, and of its first row in that file.
    """

    number: int
    row: int
    file: int
    start: int
    rows: pl.DataFrame


def _pieces(source: Source) -> Iterator[_Piece]:
    number, row = 0, 0
    for file, log in enumerate(source.logs):
        for start, rows in log.pieces():
            yield _Piece(number, row, file, start, rows)
            number, row = number + 1, row + rows.height


def _time_range(contacts: pl.DataFrame) -> tuple[int, int] | None:
    if OCCURRED_AT not in contacts.columns:
        return None
    times = contacts[OCCURRED_AT].dt.timestamp("us").drop_nulls().to_numpy()
    return (int(times.min()), int(times.max())) if len(times) else None


T = TypeVar("T")
R = TypeVar("R")


def in_order(function: Callable[[T], R], items: Iterable[T], workers: int = 2) -> Iterator[R]:
    """Yield ``function(item)`` of each item, in order; at most ``workers + 1`` items are under way.

    Threads are enough where the work is done in compiled code: while one piece computes, the next is read and the
    last is written.
    """
    with ThreadPoolExecutor(workers) as pool:
        under_way: deque[Future[R]] = deque()
        for item in items:
            under_way.append(pool.submit(function, item))
            if len(under_way) > workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
