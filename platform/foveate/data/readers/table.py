"""The user's own log: Parquet, CSV or JSONL, with a map from their columns to ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl

from foveate.data.contacts import AMOUNTS, CONTACTS, SHOWN
from foveate.data.readers.base import NO_ITEMS, NO_VIEWERS, Reader, Source
from foveate.data.readers.raw import as_items, attributes, collect, header, need, plain, scan_csv, scan_parquet
from foveate.data.schema import EVENT_KINDS, ITEM_ID, ITEMS, KIND, OCCURRED_AT, TIMESTAMP, USER_ID, VALUE, WATCH
from foveate.errors import ConfigError, ReaderError, SchemaError

_FORMATS = (".parquet", ".csv", ".jsonl", ".ndjson")
_KNOWN = (*(name for name in CONTACTS if name != SHOWN), KIND, VALUE)
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}


@dataclass(frozen=True)
class TableReader(Reader):
    """Reads one file, or every file of a folder in the order of names; a row is a meeting or an event.

    Parameters
    ----------
    columns
        Our column to theirs, such as ``{user_id: uid, item_id: video, occurred_at: ts, watch: seconds_played}``. Ours
        are ``user_id``, ``item_id``, ``occurred_at``, ``surface``, ``position``, ``policy_id``, ``propensity``,
        ``duration``, ``text`` and the kinds of event: ``watch`` in seconds, ``rate`` in stars, the others 0 or 1.
        Where a row is one event instead, ``kind`` names it and ``value`` holds its seconds or stars. A column that
        is called as ours is need not be named.
    kinds
        Their kind to ours, such as ``{play: watch, thumbs_up: like}``.
    time_unit
        Of numeric times; text is read as ISO 8601, in UTC where it names no zone.
    positive
        Kinds that count as interest.
    impressions
        Whether each row was shown by a recommender.
    items, viewers
        Files that tell of items and viewers, relative to the log's folder; empty for none.
    item_columns
        Our column of the item table to theirs; lists in text are split at ``|``.
    """

    name: ClassVar[str] = "table"

    columns: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    time_unit: Literal["s", "ms", "us"] = "s"
    positive: tuple[str, ...] = (WATCH,)
    impressions: bool = False
    items: str = ""
    viewers: str = ""
    item_columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _expect_known("columns", self.columns, _KNOWN)
        _expect_known("item_columns", self.item_columns, tuple(ITEMS))
        _expect_known("positive", self.positive, EVENT_KINDS)
        _expect_known("kinds", self.kinds.values(), EVENT_KINDS)

    def read(self, root: Path) -> Source:
        """See :meth:`Reader.read`."""
        folder = root if need(root).is_dir() else root.parent
        items = self._items(folder / self.items) if self.items else NO_ITEMS
        viewers = NO_VIEWERS
        if self.viewers:
            frame = collect(_scan(folder / self.viewers), self.viewers)
            user = self.columns.get(USER_ID, USER_ID)
            _expect_column(self.viewers, user, frame.columns)
            viewers = attributes(frame.with_columns(pl.col(user).cast(pl.String)), user)
        logs = self._logs(root)
        return Source(tuple(map(self._contacts, logs)), self.positive, items, viewers, files=tuple(logs))

    def _logs(self, root: Path) -> list[Path]:
        if root.is_file():
            return [root]
        beside = {root / name for name in (self.items, self.viewers) if name}
        found = sorted(file for file in root.iterdir() if file.suffix.lower() in _FORMATS and file not in beside)
        if not found:
            raise ReaderError(f"'{root}' holds no {', '.join(_FORMATS)}; name the file or folder of the log")
        return found

    def _contacts(self, path: Path) -> pl.LazyFrame:
        frame = _scan(path)
        types = frame.collect_schema()
        theirs = {ours: self.columns.get(ours, ours) for ours in _KNOWN}
        missing = [name for name in self.columns.values() if name not in types]
        missing += [theirs[name] for name in (USER_ID, ITEM_ID) if theirs[name] not in (*types, *missing)]
        if missing:
            faults = [f"column '{name}' is missing" for name in missing]
            hint = "map columns with columns.user_id=THEIRS and so on"
            raise SchemaError(path.name, [*faults, f"it holds: {', '.join(types)}; {hint}"])
        found = {ours: name for ours, name in theirs.items() if name in types}
        columns = [self._column(ours, name, types[name]).alias(ours) for ours, name in found.items()]
        contacts = frame.select(columns)
        if KIND in found:
            self._expect_kinds(path, contacts)
            contacts = self._spread(contacts, has_value=VALUE in found)
        elif not set(found) & set(EVENT_KINDS):
            # Rows that only say who met what: each is a watch of unknown length.
            contacts = contacts.with_columns(pl.lit(float("nan"), dtype=pl.Float32).alias(WATCH))
        contacts = contacts.select(pl.exclude(KIND, VALUE))
        return contacts.with_columns(pl.lit(self.impressions).alias(SHOWN)) if self.impressions else contacts

    def _column(self, ours: str, theirs: str, found: pl.DataType) -> pl.Expr:
        column = pl.col(theirs)
        if ours == OCCURRED_AT:
            return self._time(column, found)
        if ours in (KIND, VALUE):
            return column.cast(pl.String if ours == KIND else pl.Float32)
        if ours in EVENT_KINDS and ours not in AMOUNTS:
            return _flag(column, found)
        if ours in AMOUNTS:
            # Not a number is how some tools write a blank.
            return column.cast(pl.Float32).fill_nan(None)
        return column.cast(CONTACTS[ours])

    def _time(self, column: pl.Expr, found: pl.DataType) -> pl.Expr:
        if isinstance(found, pl.String):
            number = column.str.contains(r"^-?\d+(\.\d+)?$")
            text = pl.when(~number).then(column).str.to_datetime(time_unit="us", time_zone="UTC")
            return pl.when(number).then(self._number(column.cast(pl.Float64, strict=False))).otherwise(text)
        if isinstance(found, pl.Datetime):
            micros = column.dt.cast_time_unit("us")
            return micros.dt.convert_time_zone("UTC") if found.time_zone else micros.dt.replace_time_zone("UTC")
        if isinstance(found, pl.Date):
            return column.cast(TIMESTAMP)
        return self._number(column)

    def _number(self, column: pl.Expr) -> pl.Expr:
        scaled = column * (1_000_000 // _PER_SECOND[self.time_unit])
        return scaled.cast(pl.Int64).cast(TIMESTAMP)

    def _spread(self, contacts: pl.LazyFrame, *, has_value: bool) -> pl.LazyFrame:
        """Turn rows of one event each into contacts in which one thing happened."""
        kind = pl.col(KIND)
        named = kind.replace_strict({**{k: k for k in EVENT_KINDS}, **self.kinds}, return_dtype=pl.String)
        value = pl.col(VALUE) if has_value else pl.lit(None, dtype=pl.Float32)
        happened = [
            pl.when(pl.col(KIND) == one).then(value.fill_null(float("nan")) if one in AMOUNTS else pl.lit(value=True))
            for one in EVENT_KINDS
        ]
        return contacts.with_columns(named.alias(KIND)).with_columns(
            column.alias(one) for one, column in zip(EVENT_KINDS, happened, strict=True)
        )

    def _expect_kinds(self, path: Path, contacts: pl.LazyFrame) -> None:
        """Look through the kinds alone first: an unknown one is the map's fault and has a name."""
        counts = collect(contacts.group_by(KIND).len().sort("len", KIND, descending=True), path)
        unknown = [(kind, n) for kind, n in counts.rows() if kind not in (*EVENT_KINDS, *self.kinds)]
        if unknown:
            faults = [f"kind {kind!r} is unknown in {n:,} row(s)" for kind, n in unknown]
            raise SchemaError(path.name, [*faults, f"map it with kinds.THEIRS=OURS to one of {', '.join(EVENT_KINDS)}"])

    def _items(self, path: Path) -> pl.DataFrame:
        frame = collect(_scan(path), path.name)
        theirs = {ours: self.item_columns.get(ours, ours) for ours in ITEMS}
        theirs[ITEM_ID] = self.item_columns.get(ITEM_ID, self.columns.get(ITEM_ID, ITEM_ID))
        for name in (theirs[ITEM_ID], *self.item_columns.values()):
            _expect_column(path.name, name, frame.columns)
        columns = []
        for ours, name in theirs.items():
            if name in frame.columns:
                columns.append(self._item_column(ours, pl.col(name), frame.schema[name]).alias(ours))
        return as_items(frame.select(columns))

    def _item_column(self, ours: str, column: pl.Expr, found: pl.DataType) -> pl.Expr:
        wanted = ITEMS[ours]
        if wanted == TIMESTAMP:
            return self._time(column, found)
        if isinstance(wanted, pl.List) and not isinstance(found, pl.List):
            return column.cast(pl.String).str.split("|")
        return column.cast(wanted)


def _flag(column: pl.Expr, found: pl.DataType) -> pl.Expr:
    if isinstance(found, pl.String):
        return column.str.to_lowercase().replace_strict(
            {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}, return_dtype=pl.Boolean
        )
    return column if isinstance(found, pl.Boolean) else column != 0


def _scan(path: Path) -> pl.LazyFrame:
    suffix = need(path).suffix.lower()
    if suffix == ".parquet":
        return scan_parquet(path)
    if suffix == ".csv":
        return scan_csv(path, dict.fromkeys(header(path), pl.String()))
    if suffix in _FORMATS:
        return _scan_lines(path)
    raise ReaderError(f"'{path}' is none of {', '.join(_FORMATS)}; export it as one of them")


def _scan_lines(path: Path) -> pl.LazyFrame:
    try:
        frame = pl.scan_ndjson(path, infer_schema_length=10_000)
        frame.collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ReaderError(f"'{path}' is not JSON lines in UTF-8: {plain(error)}") from error
    return frame


def _expect_column(table: str, name: str, found: list[str]) -> None:
    if name not in found:
        raise SchemaError(table, [f"column '{name}' is missing", f"it holds: {', '.join(found)}"])


def _expect_known(setting: str, given: object, known: tuple[str, ...]) -> None:
    unknown = [name for name in given if name not in known]  # type: ignore[attr-defined]
    if unknown:
        raise ConfigError(f"{setting}: '{unknown[0]}' is unknown. Known: {', '.join(known)}.")
