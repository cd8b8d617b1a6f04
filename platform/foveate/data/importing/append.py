"""Growing a dataset by what is new in a log: old parts stay byte for byte, and only what is new is cleaned.

A row is known from before by its id where the log has ids, else by viewer, item, kind and time. A log that names its
files, as a served log does, is read from the first file that the dataset has not taken. Where such a file is gone from
the log, because a viewer was erased from it, what the dataset made of it goes too, and is made of the new one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import polars as pl

from foveate.core.config import to_dict
from foveate.core.errors import StorageError
from foveate.data.dataset import MANIFEST, Dataset, Growth, Manifest, grown_hash, log_parts, open_dataset, scan_parts
from foveate.data.importing.import_dataset import Progress, import_dataset, import_source
from foveate.data.raw.files import plain_files
from foveate.data.readers.base import Reader, Source
from foveate.data.schema import (
    EVENT_ID,
    EVENTS,
    HASH_LENGTH,
    IMPRESSIONS,
    ITEM_ID,
    KIND,
    OCCURRED_AT,
    OF_A_LOG,
    ORDER,
    USER_ID,
)
from foveate.storage.files import locked, sha256_of, write_durably
from foveate.storage.folder import Place, reason

_LOCK: Final = ".append.lock"
_SHOWN_ID: Final = "impression_id"
_LONG: Final = {"impressions": IMPRESSIONS, "events": EVENTS}
_SMALL: Final = ("items", "viewers")
_NAMED: Final = 8
"""Characters of a log's hash in the ids of rows that have none of their own."""


def append_dataset(
    reader: Reader, path: Place, folder: Path, progress: Progress | None = None, *, now: int | None = None
) -> Dataset:
    """Add to a dataset what is new in a log; a dataset that is absent is made.

    Parameters
    ----------
    reader, path
        As for :func:`foveate.data.importing.import_dataset.import_dataset`.
    folder
        The dataset. What reads it meanwhile reads what it was, until its manifest changes.
    progress
        Called with one line of news a piece.
    now
        UTC microseconds; no event may be later. None takes this machine's clock.

    Raises
    ------
    DataError
        The log cannot be read, or the dataset is damaged.
    StorageError
        The disk is full, or the folder cannot be written.
    """
    with plain_files(path) as plain:
        if not (folder / MANIFEST).exists():
            source = reader.read(plain)
            made = import_dataset(reader, plain, folder, progress, now=now)
            first = replace(_begun(made), source=source.name, taken=_digests(source))
            return _written(folder, replace(made.manifest, growth=(first,)))
        source = reader.read(plain)
        try:
            with locked(folder / _LOCK, progress):
                return _Append(open_dataset(folder), folder, reader, source).run(progress, now)
        except OSError as error:
            raise StorageError(f"'{folder}' cannot be written: {reason(error)}") from error


@dataclass
class _Append:
    """One growth of a dataset under way.

    The new parts are on the disk first, under names that nobody reads; then the small tables, which only gain rows; and
    last the manifest, which names all of it.
    """

    dataset: Dataset
    folder: Path
    reader: Reader
    source: Source

    def run(self, progress: Progress | None, now: int | None) -> Dataset:
        """Return the dataset with what is new in it."""
        growth = self.dataset.manifest.growth or (_begun(self.dataset),)
        _remove_strays(self.folder, growth)
        stale = self._stale(growth)
        removed = tuple(path for one in stale for path in one.parts if path in log_parts(growth))
        # What a stale growth took is taken anew by this one.
        kept = tuple(replace(one, taken=()) if one in stale else one for one in growth)
        taken = {digest for one in kept if one.source == self.source.name for digest in one.taken}
        logs = tuple(log for log in self.source.logs if not log.digest or log.digest not in taken)
        if not logs and not removed:
            return self.dataset
        with TemporaryDirectory(dir=self.folder, prefix=".append.") as scratch:
            staged = Path(scratch)
            import_source(self.reader, replace(self.source, logs=logs), staged, progress, now=now, fewest=0)
            new = open_dataset(staged)
            # A log that does not name its files is known by all that it holds.
            own = tuple(log.digest for log in logs if log.digest) or (new.manifest.content_hash,)
            if not removed and {*own} <= taken | {growth[0].content_hash}:
                return self.dataset
            one = Growth(
                content_hash="",
                parent=self.dataset.manifest.content_hash,
                removed=removed,
                reader=self.reader.name,
                source=self.source.name,
                own_event_ids=new.manifest.own_event_ids,
                taken=own,
                cleaning=new.manifest.cleaning,
            )
            left = {table: scan_parts(self.folder, (*kept, one), table) for table in _LONG}
            one = self._with_parts(one, growth, new, left, staged)
            self._write_tables(new, left, removed)
        return self._finish((*kept, one), own_ids=new.manifest.own_event_ids)

    def _stale(self, growth: Sequence[Growth]) -> list[Growth]:
        """Return the growths of which the source no longer holds a file that they took."""
        there = set(_digests(self.source))
        named = [one for one in growth if self.source.name and one.source == self.source.name]
        return [one for one in named if not set(one.taken) <= there]

    def _with_parts(
        self, one: Growth, before: Sequence[Growth], new: Dataset, left: dict[str, pl.LazyFrame], staged: Path
    ) -> Growth:
        """Write what is new and was not known, part by part: each viewer lies whole in one."""
        parts: dict[str, str] = {}
        rows = dict.fromkeys(_LONG, 0)
        known = 0
        mark = "" if self.source.own_impression_ids else f"{new.manifest.content_hash[:_NAMED]}:"
        for table, schema in _LONG.items():
            own = self.source.own_impression_ids if table == "impressions" else new.manifest.own_event_ids
            named = [_SHOWN_ID] if table == "impressions" or own else [_SHOWN_ID, EVENT_ID]
            for file in sorted((staged / table).glob("*.parquet")):
                found = pl.read_parquet(file)
                fresh = _not_known(found, left[table], _key(table, own))
                if table == "events" and own:
                    fresh = _not_seeded(fresh, left[table], [growth.content_hash for growth in before])
                known += found.height - fresh.height
                if not fresh.height:
                    continue
                fresh = _behind(fresh, left[table]).with_columns(
                    (pl.lit(mark) + pl.col(name)).alias(name) for name in named
                )
                target = self.folder / table / f"{len(before):04d}" / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                fresh.select(pl.col(name).cast(dtype) for name, dtype in schema.items()).write_parquet(target)
                parts[target.relative_to(self.folder).as_posix()] = sha256_of(target)
                rows[table] += fresh.height
        return replace(one, parts=parts, rows=rows, known=known)

    def _write_tables(self, new: Dataset, left: dict[str, pl.LazyFrame], removed: Sequence[str]) -> None:
        """Add the items and viewers that are new behind those that are there: what these say stays."""
        viewers = self.dataset.viewers
        if removed:
            viewers = viewers.join(self._gone(new, left, removed), on=USER_ID, how="anti", maintain_order="left")
        for table, key, old, more in (
            ("items", ITEM_ID, self.dataset.items, new.items),
            ("viewers", USER_ID, viewers, new.viewers),
        ):
            staged = self.folder / f".{table}.parquet"
            pl.concat([old, more.join(old, on=key, how="anti", maintain_order="left")]).write_parquet(staged)
            staged.replace(self.folder / f"{table}.parquet")

    def _gone(self, new: Dataset, left: dict[str, pl.LazyFrame], removed: Sequence[str]) -> pl.DataFrame:
        """Return the viewers of whom removed parts held rows, and nothing else does any more."""
        users = pl.concat(pl.scan_parquet(self.folder / path).select(USER_ID) for path in removed).unique()
        for frame in (*left.values(), new.viewers.lazy()):
            users = users.join(frame.select(USER_ID), on=USER_ID, how="anti")
        return users.collect()

    def _finish(self, growth: tuple[Growth, ...], *, own_ids: bool) -> Dataset:
        old, one = self.dataset.manifest, growth[-1]
        content_hash = grown_hash(one.parent, one.parts, self.folder)
        growth = (*growth[:-1], replace(one, content_hash=content_hash))
        manifest = replace(
            old,
            growth=growth,
            content_hash=content_hash,
            own_event_ids=old.own_event_ids and own_ids,
            **_counted(self.folder, growth),
        )
        grown = _written(self.folder, manifest)
        _remove_strays(self.folder, growth)
        return grown


def _begun(dataset: Dataset) -> Growth:
    """Return what a dataset was before it grew."""
    folder, manifest = dataset.path, dataset.manifest
    if folder is None:
        raise AssertionError("a dataset that grows lies in a folder")
    files = sorted(file for table in _LONG for file in (folder / table).glob("*.parquet"))
    return Growth(
        content_hash=manifest.content_hash,
        parts={file.relative_to(folder).as_posix(): sha256_of(file) for file in files},
        rows={table: manifest.rows[table] for table in _LONG},
        reader=manifest.reader,
        own_event_ids=manifest.own_event_ids,
    )


def _digests(source: Source) -> tuple[str, ...]:
    return tuple(log.digest for log in source.logs if log.digest)


def _key(table: str, own: bool) -> tuple[str, ...]:
    """Return the columns that tell a row from all others."""
    if table == "impressions":
        return (_SHOWN_ID,) if own else (USER_ID, ITEM_ID, "shown_at")
    return (USER_ID, EVENT_ID) if own else (USER_ID, ITEM_ID, KIND, OCCURRED_AT)


def _not_known(found: pl.DataFrame, left: pl.LazyFrame, key: Sequence[str]) -> pl.DataFrame:
    """Leave out the rows that are there already; a row of which a column of the key is null is taken for new."""
    wanted = found.lazy().select(key).unique()
    there = left.select(key).join(wanted, on=list(key), how="semi").collect(engine="streaming")
    return found.join(there, on=list(key), how="anti", maintain_order="left")


def _not_seeded(fresh: pl.DataFrame, left: pl.LazyFrame, hashes: Sequence[str]) -> pl.DataFrame:
    """Leave out what the store was seeded with from this very dataset, where that had no ids of its own."""
    named = fresh.filter(pl.col(EVENT_ID).str.starts_with(OF_A_LOG))
    if not named.height:
        return fresh
    starts = [f"{OF_A_LOG}{one[:HASH_LENGTH]}:" for one in hashes]
    own = pl.any_horizontal(pl.col(EVENT_ID).str.starts_with(start) for start in starts)
    new = _not_known(named.filter(~own), left, _key("events", own=False))
    known = named.join(new, on=[USER_ID, EVENT_ID], how="anti")
    return fresh.join(known, on=[USER_ID, EVENT_ID], how="anti", maintain_order="left")


def _behind(fresh: pl.DataFrame, left: pl.LazyFrame) -> pl.DataFrame:
    """Give each viewer's rows the numbers behind the last one that is there."""
    users = fresh.lazy().select(USER_ID).unique()
    last = left.select(USER_ID, ORDER).join(users, on=USER_ID, how="semi").group_by(USER_ID).agg(pl.col(ORDER).max())
    numbers = fresh.join(
        last.collect(engine="streaming"), on=USER_ID, how="left", maintain_order="left", suffix="_last"
    )
    place = pl.int_range(pl.len(), dtype=pl.Int64).over(USER_ID)
    return numbers.with_columns((place + pl.col(f"{ORDER}_last").fill_null(-1) + 1).alias(ORDER)).drop(f"{ORDER}_last")


def _counted(folder: Path, growth: Sequence[Growth]) -> dict[str, Any]:
    """Return what a manifest says of the tables."""
    events = scan_parts(folder, growth, "events")
    at = pl.col(OCCURRED_AT).dt.timestamp("us")
    length, first, last = events.select(pl.len(), at.min().alias("first"), at.max().alias("last")).collect().row(0)
    rows = {
        "impressions": scan_parts(folder, growth, "impressions").select(pl.len()).collect().item(),
        "events": length,
        **{table: pl.scan_parquet(folder / f"{table}.parquet").select(pl.len()).collect().item() for table in _SMALL},
    }
    return {"rows": rows, "first": first, "last": last}


def _written(folder: Path, manifest: Manifest) -> Dataset:
    staged = folder / f".{MANIFEST}"
    write_durably(staged, json.dumps(to_dict(manifest), indent=2).encode())
    staged.replace(folder / MANIFEST)
    return open_dataset(folder)


def _remove_strays(folder: Path, growth: Sequence[Growth]) -> None:
    """Remove the parts that a growth has removed, or that one which broke off has left."""
    known = log_parts(growth)
    for table in _LONG:
        for file in sorted((folder / table).rglob("*.parquet")):
            if file.relative_to(folder).as_posix() not in known:
                file.unlink()
