"""From raw files to a dataset folder: read in pieces, clean, cut by viewer, sort, derive, write.

The log passes twice: once in pieces of the file, once in parts that hold whole viewers. Neither needs it in memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from foveate.config import to_dict
from foveate.data.cleaning.base import CleaningContext, Tally, reports, steps
from foveate.data.contacts import CONTACTS, ROW, pack
from foveate.data.dataset import MANIFEST, Dataset, Manifest, StepReport, hash_tables, open_dataset
from foveate.data.derive import derive
from foveate.data.readers.base import Reader, Source
from foveate.data.readers.raw import as_items, plain
from foveate.data.schema import ITEM_ID, OCCURRED_AT, TABLES, USER_ID
from foveate.data.spool import Spool
from foveate.errors import DataError, ReaderError
from foveate.files import staged_folder

PIECE = 500_000
"""Rows of a raw log that are read at a time."""

Progress = Callable[[str], None]


def import_dataset(
    reader: Reader, path: Path, out: Path, progress: Progress | None = None, *, now: int | None = None
) -> Dataset:
    """Import a raw log; nothing is left at ``out`` unless all went well.

    Parameters
    ----------
    reader
        Knows the layout of ``path``.
    path
        A file or folder, as the reader wants it.
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
    tell = progress or (lambda _: None)
    with staged_folder(out) as folder:
        source = reader.read(path)
        context = CleaningContext(time.time_ns() // 1000 if now is None else now, source.same)
        job = _Import(source, context, folder, tell)
        job.run()
        manifest = job.manifest(reader)
        (folder / MANIFEST).write_text(json.dumps(to_dict(manifest), indent=2), encoding="utf-8")
    return open_dataset(out)


class _Import:
    """One import under way."""

    def __init__(self, source: Source, context: CleaningContext, folder: Path, tell: Progress) -> None:
        self._source = source
        self._context = context
        self._folder = folder
        self._tell = tell
        self._steps = steps()
        self._tallies = {table: {step.name: Tally() for step in self._steps} for table in ("log", "items", "viewers")}
        self._rows = dict.fromkeys(TABLES, 0)
        self._range: list[int] = []
        self._items: set[str] = set()
        self._users: list[pl.Series] = []

    def run(self) -> None:
        """Write all four tables."""
        with TemporaryDirectory(dir=self._folder, prefix=".spool.") as spooled:
            spool = Spool(Path(spooled))
            self._fill(spool)
            if not len(spool):
                raise DataError(f"the log holds no usable row; dropped: {self._dropped() or 'none'}")
            for number, part in enumerate(spool.parts()):
                self._write_part(number, part)
        self._complete("items", as_items(self._source.items), ITEM_ID, sorted(self._items))
        self._complete("viewers", self._source.viewers, USER_ID, pl.concat(self._users).sort().to_list())
        if len(self._users) < 1 or self._seen_users() < 2 or len(self._items) < 2:
            raise DataError(
                f"the log holds {self._seen_users()} viewer(s) and {len(self._items)} item(s) that were met; nothing "
                "can be learned from fewer than two of each: import a larger log"
            )

    def manifest(self, reader: Reader) -> Manifest:
        """Say what was imported."""
        cleaning: list[StepReport] = []
        for table, tallies in self._tallies.items():
            cleaning += reports(table, tallies)
        return Manifest(
            reader=reader.name,
            simulated=False,
            rows=self._rows,
            first=min(self._range, default=None),
            last=max(self._range, default=None),
            content_hash=hash_tables(self._folder),
            positive_kinds=self._source.positive_kinds,
            settings={name: value for name, value in to_dict(reader).items() if name != "name"},
            cleaning=tuple(cleaning),
        )

    def _fill(self, spool: Spool) -> None:
        row = 0
        for contacts in self._source.contacts:
            for piece in _pieces(contacts):
                numbered = piece.with_columns(pl.int_range(row, row + piece.height, dtype=pl.Int64).alias(ROW))
                row += piece.height
                cleaned = self._clean("log", numbered, whole=False)
                self._items.update(cleaned[ITEM_ID].unique().to_list())
                spool.put(pack(cleaned))
                self._tell(f"read {row:,} rows")

    def _clean(self, table: str, frame: pl.DataFrame, *, whole: bool) -> pl.DataFrame:
        for step in self._steps:
            if step.whole is whole:
                frame = step.clean(table, frame, self._tallies[table][step.name], self._context)
        return frame

    def _write_part(self, number: int, part: pl.DataFrame) -> None:
        contacts = self._clean("log", part, whole=True)
        self._users.append(contacts[USER_ID].unique())
        for table, frame in zip(("impressions", "events"), derive(contacts), strict=True):
            self._write(f"{table}/part-{number:04d}.parquet", frame)
            self._rows[table] += frame.height
            if table == "events":
                self._note_times(frame)
        self._tell(f"wrote part {number + 1}: {self._rows['events']:,} events")

    def _note_times(self, events: pl.DataFrame) -> None:
        times = events[OCCURRED_AT].dt.timestamp("us")
        if times.count():
            self._range += [times.min(), times.max()]  # type: ignore[list-item]

    def _complete(self, table: str, told: pl.DataFrame, key: str, met: list[str]) -> None:
        """Write a small table: what the source tells, and after it what only the log knows."""
        cleaned = self._clean(table, self._clean(table, told, whole=False), whole=True)
        known = set(cleaned[key].to_list())
        more = pl.DataFrame({key: [id_ for id_ in met if id_ not in known]}, schema={key: pl.String})
        frame = pl.concat([cleaned, more], how="diagonal").select(
            pl.col(name).cast(dtype) for name, dtype in TABLES[table].items()
        )
        self._rows[table] = frame.height
        self._write(f"{table}.parquet", frame)

    def _write(self, name: str, frame: pl.DataFrame) -> None:
        target = self._folder / name
        target.parent.mkdir(exist_ok=True)
        frame.write_parquet(target, compression="lz4")

    def _seen_users(self) -> int:
        return sum(map(len, self._users))

    def _dropped(self) -> str:
        told = (f"{tally.dropped} by '{step}'" for step, tally in self._tallies["log"].items() if tally.dropped)
        return ", ".join(told)


def _pieces(contacts: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Yield a log in pieces, in file order, its columns checked."""
    try:
        for piece in contacts.collect_batches(chunk_size=PIECE, maintain_order=True):
            yield piece.select(pl.col(name).cast(CONTACTS[name]) for name in piece.columns)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ReaderError(f"the log cannot be read: {plain(error)}") from error
