"""The seam of dataset readers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import polars as pl

from foveate.data.schema import ITEM_ID, ITEMS, OCCURRED_AT, USER_ID, VIEWERS
from foveate.registry import Registry, Variant

NO_ITEMS: Final = pl.DataFrame(schema=ITEMS)
NO_VIEWERS: Final = pl.DataFrame(schema=VIEWERS)


@dataclass(frozen=True)
class Source:
    """What a reader found.

    Parameters
    ----------
    contacts
        The log in file order, as frames that stream; each holds some of the columns of
        :data:`foveate.data.contacts.CONTACTS`. Where times tie or are absent, the order of rows decides.
    items, viewers
        What the source tells of items and viewers; those that only the log knows are added by the import.
    positive_kinds
        Event kinds that count as interest in this source.
    same
        Contacts that agree in these columns are the same contact, logged twice; empty means all columns.
    files
        The file behind each frame of ``contacts``, for messages.
    """

    contacts: tuple[pl.LazyFrame, ...]
    positive_kinds: tuple[str, ...]
    items: pl.DataFrame = field(default_factory=lambda: NO_ITEMS)
    viewers: pl.DataFrame = field(default_factory=lambda: NO_VIEWERS)
    same: tuple[str, ...] = ()
    files: tuple[Path, ...] = field(kw_only=True)


SAME_MOMENT = (USER_ID, ITEM_ID, OCCURRED_AT)
"""For sources whose rows are meetings: no viewer meets an item twice in one moment."""


class Reader(Variant):
    """Base of the readers: frozen configs, each of which knows one layout of raw files.

    Each file of this package that defines one adds a reader.
    """

    variants: ClassVar[Registry[Reader]]

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


Reader.variants = Registry("reader", Reader, "foveate.data.readers")
