"""The seam of dataset readers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import polars as pl

from foveate.core.errors import ConfigError
from foveate.core.registry import Registry, Variant
from foveate.data.importing.report import SkippedFile
from foveate.data.raw.table import BROKEN, PIECE, RawTable
from foveate.data.readers.convert import Column, Converted, Finish, OnError, RowErrors, convert, id_parser
from foveate.data.schema import ITEM_ID, ITEMS, OCCURRED_AT, USER_ID, VIEWERS

NO_VIEWERS: Final = pl.DataFrame(schema=VIEWERS)


@dataclass(frozen=True)
class LogFile:
    """One file of a log, and how its rows become contacts.

    Parameters
    ----------
    table
        The file.
    columns
        How its columns become columns of contacts, see :data:`foveate.data.importing.contacts.CONTACTS`.
    finish
        Makes contacts of the converted columns, where more is to be done than to convert each by itself.
    ignored
        Columns of the file that no one reads.
    warnings
        What is probably not as it was meant.
    digest
        SHA-256 of the file, where the source tells it: a dataset that has grown by the file once does not again.
    """

    table: RawTable
    columns: tuple[Column, ...]
    finish: Finish = lambda frame: frame
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    digest: str = ""

    def pieces(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield the number of the first row of each piece, and the piece as it stands in the file."""
        start = 0
        for piece in self.table.pieces(list(dict.fromkeys(column.theirs for column in self.columns)), PIECE):
            yield start, piece
            start += piece.height

    def convert(self, start: int, piece: pl.DataFrame) -> Converted:
        """Return a piece as contacts."""
        found = convert(piece, self.columns, start)
        return Converted(self.finish(found.frame), found.bad, found.faults, found.zones)


@dataclass(frozen=True)
class ItemTable:
    """What a source knows of items.

    Parameters
    ----------
    frame
        Columns of :data:`foveate.data.schema.ITEMS`.
    columns
        How they were read.
    ignored
        Columns of the file that no one reads.
    warnings
        What is probably not as it was meant.
    """

    frame: pl.DataFrame
    columns: tuple[Column, ...] = ()
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


NO_ITEMS: Final = ItemTable(pl.DataFrame(schema=ITEMS))


@dataclass(frozen=True)
class Source:
    """What a reader found.

    Parameters
    ----------
    logs
        The files of the log, in order. Where times tie or are absent, the order of rows decides.
    positive_kinds
        Event kinds that count as interest in this source.
    errors
        Counts the rows that cannot be read, of all tables.
    items, viewers
        What the source knows of items and viewers; those that only the log knows are added by the import.
    same
        Contacts that agree in these columns are the same contact, logged twice; empty means all columns.
    skipped
        Files that were left out.
    notes
        What the user should know of how the source was read.
    zone
        What times without a time zone mean; empty where no setting says it.
    own_event_ids, own_impression_ids
        Whether every event, or impression, has an id that the source gave it for good.
    name
        What the source calls itself for good, where files come to it and go from it; else empty.
    """

    logs: tuple[LogFile, ...]
    positive_kinds: tuple[str, ...]
    errors: RowErrors
    items: ItemTable = NO_ITEMS
    viewers: pl.DataFrame = field(default_factory=lambda: NO_VIEWERS)
    same: tuple[str, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()
    notes: tuple[str, ...] = ()
    zone: str = ""
    own_event_ids: bool = False
    own_impression_ids: bool = False
    name: str = ""


SAME_MOMENT = (USER_ID, ITEM_ID, OCCURRED_AT)
"""For sources whose rows are meetings: no viewer meets an item twice in one moment."""


@dataclass(frozen=True, kw_only=True)
class Reader(Variant):
    """Base of the readers: frozen configs, each of which knows one layout of raw files.

    Each file of this package that defines one adds a reader.

    Parameters
    ----------
    on_error
        What becomes of a row that cannot be read: ``refuse`` ends the import and names it, ``skip`` leaves it out and
        counts it.
    skip_at_most
        The largest share of rows that ``skip`` may leave out.
    """

    variants: ClassVar[Registry[Reader]]

    on_error: OnError = "refuse"
    skip_at_most: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.skip_at_most <= 1:
            raise ConfigError(f"skip_at_most: expected a share from 0 to 1, got {self.skip_at_most:g}")

    @classmethod
    def fits(cls, root: Path) -> bool:
        """Whether a file or folder has the layout that this reader knows, judging by names and first lines."""
        del root
        return False

    def read(self, root: Path) -> Source:
        """Find the files and describe how to read them; the log itself is not read yet.

        Raises
        ------
        ReaderError
            A file is absent or cannot be read.
        SchemaError
            A file misses columns or holds wrong types.
        """
        raise NotImplementedError

    def errors(self) -> RowErrors:
        """Return what counts the rows of one import that cannot be read."""
        return RowErrors(self.on_error, self.skip_at_most)


Reader.variants = Registry("reader", Reader, "foveate.data.readers")


def viewers_of(table: RawTable, user: str) -> pl.DataFrame:
    """Return viewers: every column but the id ``user``, as it stands, in one JSON object each."""
    frame = table.whole(list(table.schema)).drop(BROKEN, strict=False)
    rest = [name for name in frame.columns if name != user]
    ids = id_parser([(table, user)]).parse(frame[user]).values
    packed = pl.struct(rest).struct.json_encode() if rest else pl.lit(None, dtype=pl.String)
    return frame.select(ids.alias(USER_ID), packed.alias("attributes"))
