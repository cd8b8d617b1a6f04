"""The canonical dataset folder: Parquet tables and a manifest.

::

    DIR/manifest.json
        impressions/part-*.parquet    each viewer lies whole in one part, sorted by user_id and order
        events/part-*.parquet         likewise
        events/0001/part-*.parquet    what came later, where the dataset has grown; impressions likewise
        items.parquet
        viewers.parquet
        truth/                        only where the data is simulated
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import DataError
from foveate.core.tables import Tabular
from foveate.data.catalog import Catalog
from foveate.data.importing.report import ImportReport
from foveate.data.log import COLUMNS, InteractionLog
from foveate.data.schema import OCCURRED_AT, ORDER, SCHEMA_VERSION, TABLES, USER_ID
from foveate.data.vocabulary import Vocabulary
from foveate.storage.files import sha256_of

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class StepReport:
    """What one cleaning step did to one table."""

    step: str
    table: str
    dropped: int
    mended: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Growth:
    """What a dataset was begun with, or one time that it has grown since.

    Parameters
    ----------
    content_hash, parent
        Of the dataset after it, and before it; ``parent`` is empty for the first. The hash is the SHA-256 over the
        parent's, the hashes of the new parts, and those of items and viewers.
    parts
        SHA-256 of each part of impressions and events that came, by its path within the dataset.
    removed
        Paths of parts that went, because their source no longer holds what they were made of.
    rows
        How many impressions and events came.
    known
        How many more were there before, and so did not come.
    reader, source
        What read them, and what the source calls itself.
    own_event_ids
        As in :class:`Manifest`, of the events that came.
    taken
        SHA-256 of the source's files that were read, where it tells them.
    cleaning
        What each step dropped and mended.
    """

    content_hash: str
    parent: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    known: int = 0
    reader: str = ""
    source: str = ""
    own_event_ids: bool = False
    taken: tuple[str, ...] = ()
    cleaning: tuple[StepReport, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What a dataset folder says of itself.

    Parameters
    ----------
    reader
        Name of the reader, or ``simulate``.
    simulated
        Whether the rows come from a simulated world; everything printed from them says so.
    rows
        Row count by table.
    first, last
        Time range of the events, UTC microseconds; None where no event has a time.
    content_hash
        SHA-256 over the tables' bytes, in the order of their names.
    positive_kinds
        Event kinds that count as interest unless a config says otherwise.
    settings
        What the reader or the simulator was told.
    cleaning
        What each step dropped and mended.
    source
        What the import did with the files; None where the data is simulated or was imported by an older version.
    own_event_ids
        Whether the events' ids are the log's own; else they are numbers of rows, which mean nothing in another log.
    growth
        How the dataset has grown, oldest first; empty where it is as it was imported.
    """

    reader: str
    simulated: bool
    rows: dict[str, int]
    first: int | None
    last: int | None
    content_hash: str
    positive_kinds: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    cleaning: tuple[StepReport, ...] = ()
    source: ImportReport | None = None
    own_event_ids: bool = False
    growth: tuple[Growth, ...] = ()
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, repr=False)
class Dataset(Tabular):
    """The four tables; the long ones are lazy.

    Examples
    --------
    >>> import foveate
    >>> data = foveate.simulate(viewers=20, items=40, days=3)
    >>> isinstance(data, foveate.Dataset), data.items.height
    (True, 40)
    """

    impressions: pl.LazyFrame
    events: pl.LazyFrame
    items: pl.DataFrame
    viewers: pl.DataFrame
    manifest: Manifest
    path: Path | None = None

    @property
    def report(self) -> ImportReport | None:
        """What the import did with the files; None where the data is simulated."""
        return self.manifest.source

    @property
    def heading(self) -> str:
        """What the data is, and what the import left out or warns of."""
        return "\n".join([self.title, *(self.report.lines() if self.report else ())])

    def frame(self) -> pl.DataFrame:
        """Return how many rows each table holds."""
        rows = self.manifest.rows
        return pl.DataFrame({"table": list(rows), "rows": list(rows.values())})

    def histories(self) -> Iterator[tuple[str, pl.LazyFrame, bool]]:
        """Yield the events as they came: the dataset's hash then, the events, and whether their ids are their own."""
        manifest = self.manifest
        if not manifest.growth or self.path is None:
            yield manifest.content_hash, self.events, manifest.own_event_ids
            return
        there = log_parts(manifest.growth)
        for one in manifest.growth:
            files = [self.path / part for part in one.parts if part in there and part.startswith("events/")]
            if files:
                yield one.content_hash, pl.scan_parquet(files, schema=TABLES["events"]), one.own_event_ids

    def log(self) -> InteractionLog:
        """Read the interactions view into memory."""
        frame = self.events.select(list(COLUMNS)).collect()
        if self.manifest.growth:
            # What came later may have happened earlier: the order of each viewer is made anew.
            frame = frame.sort(USER_ID, OCCURRED_AT, ORDER, maintain_order=True)
            frame = frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).over(USER_ID).alias(ORDER))
        return InteractionLog(frame)

    def catalog(self) -> Catalog:
        """Return the items as arrays."""
        return Catalog(self.items)

    def users(self) -> Vocabulary:
        """Return the viewers' ids as a vocabulary."""
        return Vocabulary(self.viewers[USER_ID])

    @property
    def title(self) -> str:
        """One line naming the data, with its hash, and saying so if it is simulated."""
        stamp = " [simulated]" if self.manifest.simulated else ""
        return f"{self.manifest.reader} {self.manifest.content_hash[:12]}{stamp}"


def open_dataset(path: Path) -> Dataset:
    """Open a dataset folder.

    Raises
    ------
    DataError
        The folder is absent, is no dataset, is of another schema version, or a table is damaged.
    """
    try:
        manifest = from_dict(Manifest, json.loads((path / MANIFEST).read_text(encoding="utf-8")))
    except OSError as error:
        remedy = "Make one with 'foveate data import'."
        raise DataError(f"'{path}' is no dataset folder: {MANIFEST}: {error.strerror}. {remedy}") from error
    except ValueError as error:
        raise DataError(f"'{path / MANIFEST}' is damaged: {error}") from error
    if manifest.schema_version != SCHEMA_VERSION:
        found = f"schema version {manifest.schema_version}, this Foveate reads {SCHEMA_VERSION}"
        raise DataError(f"'{path}' has {found}: import it again")
    try:
        return Dataset(
            impressions=_scan(path, manifest, "impressions"),
            events=_scan(path, manifest, "events"),
            items=pl.read_parquet(path / "items.parquet"),
            viewers=pl.read_parquet(path / "viewers.parquet"),
            manifest=manifest,
            path=path,
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"a table of '{path}' is damaged: {error}") from error


def write_dataset(
    out: Path,
    *,
    impressions: pl.DataFrame,
    events: pl.DataFrame,
    items: pl.DataFrame,
    viewers: pl.DataFrame,
    reader: str,
    positive_kinds: tuple[str, ...],
    simulated: bool = False,
    settings: dict[str, Any] | None = None,
) -> Dataset:
    """Write tables that fit in memory as a dataset folder and open it."""
    tables = {"impressions": impressions, "events": events, "items": items, "viewers": viewers}
    for name, frame in tables.items():
        target = out / name / "part-0000.parquet" if name in ("impressions", "events") else out / f"{name}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        frame.select([pl.col(c).cast(t) for c, t in TABLES[name].items()]).write_parquet(target)
    times = events["occurred_at"].dt.timestamp("us")
    manifest = Manifest(
        reader=reader,
        simulated=simulated,
        rows={name: frame.height for name, frame in tables.items()},
        first=times.min(),  # type: ignore[arg-type]
        last=times.max(),  # type: ignore[arg-type]
        content_hash=hash_tables(out),
        positive_kinds=positive_kinds,
        settings=settings or {},
    )
    (out / MANIFEST).write_text(json.dumps(to_dict(manifest), indent=2), encoding="utf-8")
    return open_dataset(out)


def verify_dataset(folder: Path) -> None:
    """See that every byte of the tables is what the manifest says.

    Raises
    ------
    DataError
        It is not, or the folder is no dataset.
    """
    manifest = open_dataset(folder).manifest
    if manifest.growth and manifest.growth[-1].parent:
        last, parts = manifest.growth[-1], log_parts(manifest.growth)
        whole = all((folder / path).is_file() and sha256_of(folder / path) == sha for path, sha in parts.items())
        found = grown_hash(last.parent, last.parts, folder) if whole else ""
    else:
        found = hash_tables(folder)
    if found != manifest.content_hash:
        raise DataError(f"the tables of '{folder}' are not those of its {MANIFEST}: copy the dataset again")


def hash_tables(folder: Path) -> str:
    """Return the SHA-256 over the tables' bytes, in the order of their names; without what it has grown by since."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.parquet")):
        if file.parent.parent in (folder / "impressions", folder / "events"):
            continue
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def log_parts(growth: Sequence[Growth]) -> dict[str, str]:
    """Return the SHA-256 of each part of impressions and events that is there now, by its path within the dataset."""
    parts: dict[str, str] = {}
    for one in growth:
        parts = {path: sha for path, sha in parts.items() if path not in one.removed}
        parts |= one.parts
    return parts


def grown_hash(parent: str, parts: Mapping[str, str], folder: Path) -> str:
    """Return the hash of a dataset that has grown by these parts; its tables of items and viewers are as they lie."""
    lines = [parent, *(f"{path} {sha}" for path, sha in sorted(parts.items()))]
    lines += [sha256_of(folder / f"{table}.parquet") for table in ("items", "viewers")]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def scan_parts(folder: Path, growth: Sequence[Growth], table: str) -> pl.LazyFrame:
    """Return a long table of a dataset that has grown."""
    files = [folder / path for path in log_parts(growth) if path.startswith(f"{table}/")]
    return pl.scan_parquet(files, schema=TABLES[table]) if files else pl.LazyFrame(schema=TABLES[table])


def _scan(folder: Path, manifest: Manifest, table: str) -> pl.LazyFrame:
    if manifest.growth:
        return scan_parts(folder, manifest.growth, table)
    return pl.scan_parquet(folder / table / "*.parquet", schema=TABLES[table])
