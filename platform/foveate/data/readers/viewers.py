"""Tables of viewers: kept as published, one JSON object each."""

from __future__ import annotations

import polars as pl

from foveate.data.raw.table import BROKEN, RawTable
from foveate.data.readers.convert import id_parser
from foveate.data.schema import USER_ID


def viewers_of(table: RawTable, user: str) -> pl.DataFrame:
    """Return viewers: every column but the id ``user``, as it stands, in one JSON object each."""
    frame = table.whole(list(table.schema)).drop(BROKEN, strict=False)
    rest = [name for name in frame.columns if name != user]
    ids = id_parser([(table, user)]).parse(frame[user]).values
    packed = pl.struct(rest).struct.json_encode() if rest else pl.lit(None, dtype=pl.String)
    return frame.select(ids.alias(USER_ID), packed.alias("attributes"))
