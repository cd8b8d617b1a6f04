"""Bare sequences: a row a step, in each viewer's own order, without times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl

from foveate.data.readers.base import Reader, Source
from foveate.data.readers.raw import expect_columns, need, scan_csv, scan_parquet
from foveate.data.schema import ITEM_ID, USER_ID, WATCH
from foveate.errors import ReaderError


@dataclass(frozen=True)
class SequenceReader(Reader):
    """Reads one Parquet or CSV file of (user, item) rows; every row is a watch.

    Parameters
    ----------
    user, item
        Column names.
    """

    name: ClassVar[str] = "sequence"

    user: str = "user"
    item: str = "item"

    def read(self, root: Path) -> Source:
        """See :meth:`Reader.read`."""
        if not need(root).is_file():
            raise ReaderError(f"'{root}' is no file; name the Parquet or CSV file that holds the sequences")
        if root.suffix.lower() == ".parquet":
            frame = scan_parquet(root)
            expect_columns(root.name, frame.collect_schema().names(), (self.user, self.item))
        else:
            frame = scan_csv(root, {self.user: pl.String(), self.item: pl.String()})
        contacts = frame.select(
            pl.col(self.user).cast(pl.String).alias(USER_ID),
            pl.col(self.item).cast(pl.String).alias(ITEM_ID),
            # Seconds are not known: the watch happened, and its length is not a number.
            pl.lit(float("nan"), dtype=pl.Float32).alias(WATCH),
        )
        return Source((contacts,), (WATCH,), files=(root,))
