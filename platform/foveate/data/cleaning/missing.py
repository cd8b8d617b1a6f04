"""Rows that do not say who or what they are about, or when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from foveate.data.cleaning.base import CleaningContext, Rule, Step, Tally, apply_rules
from foveate.data.schema import ITEM_ID, OCCURRED_AT, TIMESTAMP, USER_ID

_EPOCH = pl.lit(0).cast(TIMESTAMP)
_NO_TIME = pl.lit(None, dtype=TIMESTAMP)


def _no_id(column: str) -> Rule:
    return Rule(f"{column} is missing", column, pl.col(column).is_null() | (pl.col(column) == ""))


_RULES = {
    "log": (
        _no_id(USER_ID),
        _no_id(ITEM_ID),
        # Exports write an unknown time as 0 or -1; the event stays, without a time.
        Rule("a time of 0 or less", OCCURRED_AT, pl.col(OCCURRED_AT) <= _EPOCH, _NO_TIME),
    ),
    "items": (_no_id(ITEM_ID),),
    "viewers": (_no_id(USER_ID),),
}


@dataclass(frozen=True)
class MissingValues(Step):
    """Drops rows without an id; a time that stands for no time becomes none."""

    name: ClassVar[str] = "missing values"
    place: ClassVar[int] = 10

    def clean(self, table: str, frame: pl.DataFrame, tally: Tally, context: CleaningContext) -> pl.DataFrame:
        del context
        return apply_rules(frame, _RULES[table], tally)
