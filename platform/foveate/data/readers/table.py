"""The user's own log: any table, with a map from their columns to ours where the names alone do not say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from foveate.core.errors import ConfigError, ReaderError, SchemaError, UnknownColumnsError
from foveate.data.importing.contacts import AMOUNTS, CONTACTS, DURATION, SHOWN, watched_somehow
from foveate.data.importing.report import SkippedFile
from foveate.data.raw.dialect import SEPARATORS
from foveate.data.raw.files import hive_keys, need, table_files
from foveate.data.raw.nested import nested_names, with_nested
from foveate.data.raw.open_table import open_table
from foveate.data.raw.table import RawTable, frame_table
from foveate.data.readers.base import NO_ITEMS, NO_VIEWERS, ItemTable, LogFile, Reader, Source, viewers_of
from foveate.data.readers.convert import (
    Column,
    How,
    RowErrors,
    convert_table,
    cut_ids,
    expect_columns,
    id_parser,
    time_parser,
)
from foveate.data.readers.names import (
    ITEM_NAMES,
    LOG_NAMES,
    guess_columns,
    guess_item_positions,
    guess_kinds,
    guess_log_positions,
    is_column_name,
    plain,
    seconds_scale,
)
from foveate.data.readers.unmapped import column_samples, ignored_columns, is_time, unread_warning
from foveate.data.schema import (
    EVENT_ID,
    EVENT_KINDS,
    ITEM_ID,
    ITEMS,
    KIND,
    NEGATIVE_KINDS,
    OCCURRED_AT,
    RATE,
    TIMESTAMP,
    USER_ID,
    VALUE,
    WATCH,
    as_items,
)
from foveate.data.values.base import Parser
from foveate.data.values.numbers import Flag, Integer, Number, Seconds, Years
from foveate.data.values.text import Id, OneOf, Text, Words, list_separator
from foveate.data.values.times import DateOrder, TimeUnit

_KNOWN: Final = (*(name for name in CONTACTS if name != SHOWN), KIND, VALUE)
_ITEM_FILES: Final = ("items", "item", "movies", "videos", "films", "catalog", "catalogue", "products", "meta")
_VIEWER_FILES: Final = ("users", "viewers", "user", "profiles")
NONE: Final = "none"
"""Names no file and no column: takes back what would be guessed."""


@dataclass(frozen=True)
class TableReader(Reader):
    """Reads one file, or every file of a folder in the order of names; a row is a meeting or an event.

    Text with any of the usual separators, JSON lines, Parquet and Arrow, packed or not. Columns that are called as
    people call them are found; whatever is guessed is shown, and a setting overrules it.

    Parameters
    ----------
    columns
        Our column to theirs, such as ``{user_id: uid, item_id: video, occurred_at: ts, watch: seconds_played}``. Ours
        are ``user_id``, ``item_id``, ``occurred_at``, ``surface``, ``position``, ``policy_id``, ``propensity``,
        ``duration``, ``text``, ``event_id`` and the kinds of event: ``watch`` in seconds, ``rate`` in stars, the
        others 0 or 1. Where a row is one event instead, ``kind`` names it and ``value`` holds its seconds or stars.
        ``none`` leaves one of ours without a column.
    kinds
        Their kind to ours, such as ``{play: watch, thumbs_up: like}``.
    time_unit
        Of numeric times: ``s``, ``ms``, ``us`` or ``ns``; ``auto`` detects it by the size of each.
    time_zone
        Where times that name no zone were written down, such as ``Europe/Berlin``; empty means UTC, and refuses a
        column in which some times name a zone and others do not.
    date_order
        Of dates such as 03/04/2024: ``dmy`` or ``mdy``; ``auto`` refuses those that no other date of the column tells.
    positive
        Kinds that count as interest; empty takes ``watch``, else ``rate``, else all that are not negative.
    impressions
        Whether each row was shown by a recommender.
    items, viewers
        Files about items and viewers, beside the log or from the current folder. Empty finds them in the log's
        folder, if that is what is imported; ``none`` takes none.
    item_columns
        Our column of the item table to theirs, as ``columns``: ``item_id``, ``title``, ``channel_id``,
        ``categories``, ``tags``, ``duration_seconds``, ``published_at``, ``available_from``, ``maturity``,
        ``language``, ``regions``, ``safety``.
    list_separator
        Between the words of a list in text; empty detects it: ``|``, ``;`` or ``,``.
    separator
        Between the fields of text files; empty detects it: a comma, a semicolon, a tab, ``|`` or ``::``.
    names, item_names
        The columns' names, for a log or a table of items without a header line.
    """

    name: ClassVar[str] = "table"

    columns: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    time_unit: TimeUnit = "auto"
    time_zone: str = ""
    date_order: DateOrder = "auto"
    positive: tuple[str, ...] = ()
    impressions: bool = False
    items: str = ""
    viewers: str = ""
    item_columns: Mapping[str, str] = field(default_factory=dict)
    list_separator: str = ""
    separator: str = ""
    names: tuple[str, ...] = ()
    item_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _expect_known("columns", self.columns, _KNOWN)
        if self.columns.get(USER_ID, "") == self.columns.get(ITEM_ID) != NONE:
            raise ConfigError(f"columns: '{self.columns[USER_ID]}' is named for both user_id and item_id")
        _expect_known("item_columns", self.item_columns, tuple(ITEMS))
        _expect_known("positive", self.positive, EVENT_KINDS)
        _expect_known("kinds", self.kinds.values(), EVENT_KINDS)
        if self.separator and self.separator not in SEPARATORS and len(self.separator) != 1:
            raise ConfigError(f"separator: expected one character or '::', got '{self.separator}'")
        try:
            ZoneInfo(self.time_zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigError(f"time_zone: '{self.time_zone}' is none; name one such as Europe/Berlin") from error

    @classmethod
    def fits(cls, root: Path) -> bool:
        """Any table may be a log: this reader is asked last."""
        return bool(table_files(root)[0])

    def read(self, root: Path) -> Source:
        folder = root if need(root).is_dir() else root.parent
        files, skipped = table_files(root)
        named = {self._beside(folder, name) for name in (self.items, self.viewers) if name not in ("", NONE)}
        logs = [self._open(file, root) for file in files if file not in named]
        items = self._open_items(self._beside(folder, self.items)) if self.items not in ("", NONE) else None
        viewers = self._open_viewers(self._beside(folder, self.viewers)) if self.viewers not in ("", NONE) else None
        if root.is_dir():
            logs, items, viewers, others = self._sorted_out(logs, items, viewers)
            logs, strangers = self._without_strangers(_named_by_the_first(logs))
            skipped += others + strangers
        for setting, name in (("items", self.items), ("viewers", self.viewers)):
            if not logs and name and self._beside(folder, name) in files:
                otherwise = f"name the table of {setting}, or none with {setting}={NONE}"
                raise ReaderError(f"{setting}={name} names the log itself: {otherwise}")
        if not logs:
            raise ReaderError(f"'{root}' holds no log; name the file or folder of the log")
        return self._source(logs, items, viewers, skipped)

    def read_tables(self, log: pl.DataFrame | pl.LazyFrame, items: pl.DataFrame | pl.LazyFrame | None = None) -> Source:
        """Describe how to read tables that are in memory.

        Raises
        ------
        SchemaError
            A table misses columns.
        ReaderError
            A value cannot be read.
        ConfigError
            ``items`` or ``viewers`` name a file.
        """
        if not {self.items, self.viewers} <= {"", NONE}:
            raise ConfigError(
                "items and viewers name files, which a log in memory has none of; give the table of items"
            )
        table = with_nested(frame_table(log, "log"), self.columns.values())
        described = None if items is None else with_nested(frame_table(items, "items"), self.item_columns.values())
        return self._source([table], described, None, [])

    def read_items(self, path: Path) -> ItemTable:
        """Read a table of items alone, as :meth:`read` would.

        Raises
        ------
        ReaderError, SchemaError
            As :meth:`read`.
        """
        errors = self.errors()
        items = self._items(self._open_items(need(path)), errors)
        errors.finish()
        return items

    def _source(
        self, logs: list[RawTable], items: RawTable | None, viewers: RawTable | None, skipped: list[SkippedFile]
    ) -> Source:
        errors = self.errors()
        mapped = [self._map_log(table) for table in logs]
        users, met = (
            id_parser((table, found[ours][0]) for table, found in zip(logs, mapped, strict=True))
            for ours in (USER_ID, ITEM_ID)
        )
        kinds, notes = self._kinds(logs, mapped)
        files = [self._log_file(table, found, kinds, users, met) for table, found in zip(logs, mapped, strict=True)]
        ours = {column.ours for file in files for column in file.columns}
        ids = [
            (table, found[ours][0]) for table, found in zip(logs, mapped, strict=True) for ours in (USER_ID, ITEM_ID)
        ]
        notes += [note for table, column in ids for note in cut_ids(table, column)]
        bare = [file.table.name for file in files if not {one.ours for one in file.columns} & {KIND, *EVENT_KINDS}]
        if bare:
            more = f" (and {len(bare) - 1:,} more)" if len(bare) > 1 else ""
            notes.append(f"'{bare[0]}'{more} has no column of events: each row is read as a watch of unknown length")
        return Source(
            tuple(files),
            self.positive or _interest(ours, kinds),
            errors,
            NO_ITEMS if items is None else self._items(items, errors),
            NO_VIEWERS if viewers is None else viewers_of(viewers, self._viewer_column(viewers)),
            skipped=tuple(skipped),
            notes=tuple(notes),
            zone=self.time_zone,
        )

    # Files

    def _open(self, file: Path, root: Path) -> RawTable:
        beside = file.stem.lower()
        names = self.item_names if beside in _ITEM_FILES and self.item_names else self.names
        table = open_table(file, separator=self.separator, names=names, known=self._is_name)
        table = with_nested(table, self.columns.values())
        if beside in _ITEM_FILES:
            table = with_nested(table, self.item_columns.values())
        return table.with_literals(hive_keys(file, root))

    def _open_items(self, path: Path) -> RawTable:
        table = open_table(path, names=self.item_names, known=self._is_name)
        return with_nested(table, self.item_columns.values())

    def _open_viewers(self, path: Path) -> RawTable:
        return with_nested(open_table(path, known=self._is_name), self.columns.values())

    def _is_name(self, word: str) -> bool:
        return word in {*self.columns.values(), *self.item_columns.values()} or is_column_name(word)

    def _beside(self, folder: Path, name: str) -> Path:
        beside = folder / name
        return beside if beside.exists() or not Path(name).exists() else Path(name)

    def _sorted_out(
        self, tables: list[RawTable], items: RawTable | None, viewers: RawTable | None
    ) -> tuple[list[RawTable], RawTable | None, RawTable | None, list[SkippedFile]]:
        """Tell logs from the tables of items and viewers that lie in the same folder, and from those left out."""
        logs, skipped = [], []
        for table in tables:
            of = self._kind_of(table) if len(tables) > 1 else "log"
            if of == "items" and items is None and self.items != NONE:
                items = table
            elif of == "viewers" and viewers is None and self.viewers != NONE:
                viewers = table
            elif of == "log":
                logs.append(table)
            else:
                skipped.append(SkippedFile(table.name, f"a table of {of}: one is read already, or {of}=none"))
        return logs, items, viewers, skipped

    def _without_strangers(self, tables: list[RawTable]) -> tuple[list[RawTable], list[SkippedFile]]:
        """Leave out what has neither ids of viewers nor of items, and no column in common with a log."""
        ids = [self._ids(table) if table.header or len(table.schema) == 1 else {USER_ID, ITEM_ID} for table in tables]
        logs = {name for table, has in zip(tables, ids, strict=True) if len(has) == 2 for name in table.schema}
        strange = [
            not has and bool(logs) and not logs & set(table.schema) for table, has in zip(tables, ids, strict=True)
        ]
        why = "no column of viewers or items, and none of the log's"
        skipped = [SkippedFile(table.name, why) for table, gone in zip(tables, strange, strict=True) if gone]
        return [table for table, gone in zip(tables, strange, strict=True) if not gone], skipped

    def _ids(self, table: RawTable) -> set[str]:
        """Return which of the two ids a log needs a table has."""
        found = guess_columns(list(table.schema), LOG_NAMES, self.columns.values())
        return {ours for ours in (USER_ID, ITEM_ID) if ours in found or self.columns.get(ours, ours) in table.schema}

    def _kind_of(self, table: RawTable) -> str:
        stem = plain(table.name.partition(".")[0])
        if not table.header:
            return "items" if stem in _ITEM_FILES else "viewers" if stem in _VIEWER_FILES else "log"
        has = self._ids(table)
        if has == {USER_ID, ITEM_ID}:
            return "log"
        of_items = guess_columns(list(table.schema), ITEM_NAMES, ())
        if ITEM_ID in of_items and USER_ID not in has and (len(of_items) > 1 or stem in _ITEM_FILES):
            return "items"
        return "viewers" if has == {USER_ID} and stem in _VIEWER_FILES else "log"

    # Columns of the log

    def _map_log(self, table: RawTable) -> dict[str, tuple[str, How]]:
        """Return, for each of our columns that the table has, theirs and how that is known."""
        types = table.schema
        named = {ours: theirs for ours, theirs in self.columns.items() if theirs != NONE}
        missing = [name for name in named.values() if name not in types]
        found: dict[str, tuple[str, How]] = {o: (theirs, "named") for o, theirs in named.items() if theirs in types}
        guessed = guess_columns(list(types), LOG_NAMES, named.values())
        unnamed = not table.header or list(types) == [str(at) for at in range(len(types))]
        if unnamed and USER_ID not in guessed and ITEM_ID not in guessed and not {USER_ID, ITEM_ID} & set(named):
            left = [name for name in types if name not in named.values()]
            guessed = guess_log_positions(left, table.head(), {name: is_time(table.head()[name]) for name in left})
        for ours, theirs in guessed.items():
            if ours not in self.columns and (ours != VALUE or KIND in {*named, *guessed}):
                found[ours] = (theirs, "same name" if theirs == ours else "guessed")
        missing += [ours for ours in (USER_ID, ITEM_ID) if ours not in found and ours not in named]
        if missing:
            faults = [f"column '{name}' is missing" for name in missing]
            hint = "map columns with columns.user_id=THEIRS and so on"
            if any(name[:1].isdigit() for name in types):
                hint += ", or, if these are values, give the columns' names: names=[user_id,item_id,...]"
            holds = ", ".join((*types, *nested_names(table)))
            raise UnknownColumnsError(table.name, [*faults, f"it holds: {holds}; {hint}"], column_samples(table, found))
        return found

    def _log_file(
        self, table: RawTable, found: Mapping[str, tuple[str, How]], kinds: Mapping[str, str], users: Id, met: Id
    ) -> LogFile:
        if not kinds:
            # What was guessed to name kinds names none.
            found = {ours: column for ours, column in found.items() if ours not in (KIND, VALUE)}
        parsers: dict[str, Parser] = {USER_ID: users, ITEM_ID: met, KIND: OneOf(kinds)}
        columns = tuple(
            Column(ours, theirs, parsers.get(ours) or self._parser(ours, theirs, table), how)
            for ours, (theirs, how) in found.items()
        )

        def finish(frame: pl.DataFrame) -> pl.DataFrame:
            if KIND in frame.columns:
                frame = _unpivoted(frame)
            elif not set(frame.columns) & set(EVENT_KINDS):
                # Rows that only say who met what: each is a watch of unknown length.
                frame = watched_somehow(frame)
            return frame.with_columns(pl.lit(value=True).alias(SHOWN)) if self.impressions else frame

        ignored = ignored_columns(table, columns)
        times = None if OCCURRED_AT in found else f"columns.{OCCURRED_AT}"
        lengths = next((f"columns.{ours}" for ours in (WATCH, DURATION) if ours not in found), None)
        return LogFile(table, columns, finish, ignored, unread_warning(table, ignored, times, lengths))

    def _parser(self, ours: str, theirs: str, table: RawTable) -> Parser:
        if ours == OCCURRED_AT:
            return time_parser(table, theirs, unit=self.time_unit, zone=self.time_zone, order=self.date_order)
        if ours in (WATCH, DURATION, VALUE):
            return Seconds(seconds_scale(theirs), table.decimal)
        if ours in (RATE, "propensity"):
            return Number(table.decimal, share=ours == "propensity")
        if ours == "position":
            return Integer(pl.Int32())
        if ours in EVENT_KINDS:
            return Flag()
        return Id() if ours == EVENT_ID else Text()

    def _kinds(
        self, logs: Sequence[RawTable], mapped: Sequence[Mapping[str, tuple[str, How]]]
    ) -> tuple[dict[str, str], list[str]]:
        """Return every kind of event of the log and what it is; look at the kinds alone first, for they have names."""
        counts: Counter[str | None] = Counter()
        guessed_column = False
        for table, found in zip(logs, mapped, strict=True):
            if KIND in found:
                theirs, how = found[KIND]
                guessed_column = guessed_column or how == "guessed"
                who = found[USER_ID][0]
                for piece in table.pieces(list(dict.fromkeys((theirs, who)))):
                    seen = Id().parse(piece[theirs]).values.filter(piece[who].is_not_null())
                    counts.update(dict(seen.value_counts().iter_rows()))
        known = {**{kind: kind for kind in EVENT_KINDS}, **self.kinds}
        guessed = guess_kinds(counts, tuple(known))
        kinds = {**guessed, **{kind: known[kind] for kind in counts if kind in known}}
        if guessed_column and not kinds:
            return {}, ["no value of the column that could name kinds of event does: it is not read"]
        unknown = [(kind, n) for kind, n in counts.most_common() if kind not in kinds]
        if unknown and self.on_error == "refuse":
            faults = [
                f"{n:,} row(s) have no kind" if kind is None else f"kind {kind!r} is unknown in {n:,} row(s)"
                for kind, n in unknown
            ]
            hint = f"map it with kinds.THEIRS=OURS to one of {', '.join(EVENT_KINDS)}, or leave such rows out with"
            raise SchemaError(logs[0].name, [*faults, f"{hint} on_error=skip"])
        return kinds, [f"events of kind '{theirs}' are read as '{ours}' (guessed)" for theirs, ours in guessed.items()]

    # Items and viewers

    def _items(self, table: RawTable, errors: RowErrors) -> ItemTable:
        columns = self._item_columns(table)
        frame = as_items(convert_table(table, columns, errors, self.time_zone))
        ignored, read = ignored_columns(table, columns), {column.ours for column in columns}
        times, lengths = (
            None if ours in read else f"item_columns.{ours}" for ours in ("published_at", "duration_seconds")
        )
        return ItemTable(frame, columns, ignored, unread_warning(table, ignored, times, lengths))

    def _item_columns(self, table: RawTable) -> tuple[Column, ...]:
        types = table.schema
        named = {ours: theirs for ours, theirs in self.item_columns.items() if theirs != NONE}
        of_log = self.columns.get(ITEM_ID)
        if ITEM_ID not in named and of_log in types:
            named[ITEM_ID] = str(of_log)
        expect_columns(table.name, types, named.values())
        guessed = guess_columns(list(types), ITEM_NAMES, named.values())
        if not table.header and ITEM_ID not in {*named, *guessed}:
            guessed = guess_item_positions(list(types), table.head())
        for ours in (*self.item_columns, *named):
            guessed.pop(ours, None)
        if ITEM_ID not in {*named, *guessed}:
            faults = [f"column '{ITEM_ID}' is missing", f"it holds: {', '.join(types)}"]
            raise SchemaError(table.name, [*faults, "map it with item_columns.item_id=THEIRS"])
        theirs = {**guessed, **named}
        how: dict[str, How] = {ours: "same name" if ours == name else "guessed" for ours, name in guessed.items()}
        how.update(dict.fromkeys(named, "named"))
        return tuple(
            Column(ours, theirs[ours], self._item_parser(ours, theirs[ours], table), how[ours])
            for ours in ITEMS
            if ours in theirs
        )

    def _item_parser(self, ours: str, theirs: str, table: RawTable) -> Parser:
        wanted = ITEMS[ours]
        if ours == ITEM_ID:
            return id_parser([(table, theirs)])
        if wanted == TIMESTAMP:
            zone = self.time_zone
            return time_parser(table, theirs, unit=self.time_unit, zone=zone, order=self.date_order, years=True)
        if isinstance(wanted, pl.List):
            return Words(self.list_separator or list_separator([table.whole([theirs])[theirs]]))
        if ours == "duration_seconds":
            return Seconds(seconds_scale(theirs), table.decimal)
        if ours == "maturity":
            return Years()
        return Number(table.decimal, share=True) if ours == "safety" else Text()

    def _viewer_column(self, table: RawTable) -> str:
        named = self.columns.get(USER_ID, USER_ID)
        found = guess_columns(list(table.schema), LOG_NAMES, ())
        name = (
            named
            if named in table.schema
            else found.get(USER_ID, next(iter(table.schema)) if not table.header else named)
        )
        expect_columns(table.name, table.schema, (name,))
        return name


def _named_by_the_first(logs: list[RawTable]) -> list[RawTable]:
    """Name the columns of parts without a header as the part that has one, as where a file was split by lines."""
    first = next((table for table in logs if table.header), None)
    return [
        table.renamed(dict(zip(table.schema, first.schema, strict=True)))
        if first is not None and not table.header and len(table.schema) == len(first.schema)
        else table
        for table in logs
    ]


def _unpivoted(contacts: pl.DataFrame) -> pl.DataFrame:
    """Turn rows of one event each into contacts in which one thing happened, beside what other columns say."""
    has = set(contacts.columns)
    happened = []
    for one in EVENT_KINDS:
        own = pl.col(one) if one in has else pl.lit(None)
        if one in AMOUNTS:
            # Of an event of another kind the column holds nothing, or what is not meant.
            amounts = [pl.col(VALUE)] if VALUE in has else []
            amount = pl.coalesce(own, *amounts, pl.lit(float("nan")))
            happened.append(pl.when(pl.col(KIND) == one).then(amount).alias(one))
        else:
            happened.append(pl.when(pl.col(KIND) == one).then(pl.lit(value=True)).otherwise(own).alias(one))
    return contacts.with_columns(happened).drop(KIND, VALUE, strict=False)


def _interest(ours: set[str], kinds: Mapping[str, str]) -> tuple[str, ...]:
    """Return the kinds that count as interest in a log where nobody has said it."""
    found = {kind for kind in EVENT_KINDS if kind in ours or kind in kinds.values()}
    for kind in AMOUNTS:
        if kind in found:
            return (kind,)
    return tuple(kind for kind in EVENT_KINDS if kind in found and kind not in NEGATIVE_KINDS) or (WATCH,)


def _expect_known(setting: str, given: object, known: tuple[str, ...]) -> None:
    unknown = [name for name in given if name not in known]  # type: ignore[attr-defined]
    if unknown:
        raise ConfigError(f"{setting}: '{unknown[0]}' is unknown. Known: {', '.join(known)}.")
