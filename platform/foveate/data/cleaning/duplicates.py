"""Rows that were logged twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from foveate.data.cleaning.base import CleaningContext, Step, Tally
from foveate.data.importing.contacts import ROW
from foveate.data.schema import EVENT_ID, ITEM_ID, OCCURRED_AT, USER_ID

_KEYS = {"items": (ITEM_ID,), "viewers": (USER_ID,)}


@dataclass(frozen=True)
class Duplicates(Step):
    """Keeps the first of the rows that are the same, or that their source gave one id; others without a time stay."""

    name: ClassVar[str] = "duplicates"
    place: ClassVar[int] = 40
    whole: ClassVar[bool] = True

    def clean(self, table: str, frame: pl.DataFrame, tally: Tally, context: CleaningContext) -> pl.DataFrame:
        """Drop duplicates; a log must come sorted by viewer, time and row. See :meth:`Step.clean`."""
        repeated = (
            _any(_in_log(frame, context.same), _of_one_id(frame))
            if table == "log"
            else ~frame.select(_KEYS[table][0]).to_series().is_first_distinct()
        )
        if repeated is None or not (count := int(repeated.sum())):
            return frame
        tally.dropped += count
        shown = [name for name in (USER_ID, ITEM_ID, OCCURRED_AT) if name in frame.columns]
        tally.note("logged twice", frame.lazy().filter(repeated).head(3).select(shown).collect())
        return frame.filter(~repeated)


def _in_log(frame: pl.DataFrame, same: tuple[str, ...]) -> pl.Series | None:
    """Return which rows repeat an earlier one.

    Only rows of the same viewer and moment can be the same, and these are neighbours: few rows are compared.
    """
    if OCCURRED_AT not in frame.columns or not frame.height:
        return None
    user, at = pl.col(USER_ID), pl.col(OCCURRED_AT)
    tied = frame.select(
        ((at == at.shift(1)) & (user == user.shift(1))).fill_null(value=False).alias("tied")
    ).to_series()
    tied |= tied.shift(-1, fill_value=False)
    rows = tied.arg_true()
    # What says nothing in this part of the log was left out of it.
    known = tuple(name for name in same if name in frame.columns)
    columns = known or tuple(name for name in frame.columns if name != ROW)
    first = frame.select(columns)[rows].select(pl.struct(columns).is_first_distinct()).to_series()
    repeated = pl.zeros(frame.height, dtype=pl.Int8, eager=True).cast(pl.Boolean)
    return repeated.scatter(rows.filter(~first), True) if len(rows) else None


def _of_one_id(frame: pl.DataFrame) -> pl.Series | None:
    """Return which rows have the id of an earlier event of the same viewer."""
    if EVENT_ID not in frame.columns or frame[EVENT_ID].null_count() == frame.height:
        return None
    named = frame[EVENT_ID].is_not_null()
    return named & ~frame.select(pl.struct(USER_ID, EVENT_ID).is_first_distinct()).to_series()


def _any(one: pl.Series | None, other: pl.Series | None) -> pl.Series | None:
    if one is None or other is None:
        return one if other is None else other
    return one | other
