"""Bare sequences: a row a step, in each viewer's own order, without times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from foveate.core.errors import ReaderError
from foveate.data.importing.contacts import watched_somehow
from foveate.data.raw.files import need
from foveate.data.raw.open_table import open_table
from foveate.data.readers.base import LogFile, Reader, Source
from foveate.data.readers.convert import Column, expect_columns, id_parser
from foveate.data.schema import ITEM_ID, USER_ID, WATCH


@dataclass(frozen=True)
class SequenceReader(Reader):
    """Reads one Parquet or CSV file of (user, item) rows; every row is a watch.

    Parameters
    ----------
    user, item
        Column names; empty takes ``user`` or ``user_id``, and ``item`` or ``item_id``.
    """

    name: ClassVar[str] = "sequence"

    user: str = ""
    item: str = ""

    def read(self, root: Path) -> Source:
        if not need(root).is_file():
            raise ReaderError(f"'{root}' is no file; name the Parquet or CSV file that holds the sequences")
        table = open_table(root)
        user = self.user or ("user" if USER_ID not in table.schema else USER_ID)
        item = self.item or ("item" if ITEM_ID not in table.schema else ITEM_ID)
        expect_columns(table.name, table.schema, (user, item))
        columns = (
            Column(USER_ID, user, id_parser([(table, user)])),
            Column(ITEM_ID, item, id_parser([(table, item)])),
        )
        ignored = tuple(name for name in table.schema if name not in (user, item))
        return Source((LogFile(table, columns, watched_somehow, ignored),), (WATCH,), self.errors())
