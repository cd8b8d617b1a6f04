"""The same thing written the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from foveate.data.cleaning.base import CleaningContext, Rule, Step, Tally, apply_rules

_TEXTS = {
    "log": ("surface", "policy_id", "text"),
    "items": ("title", "channel_id", "language"),
    "viewers": ("attributes",),
}
_LISTS = {"log": (), "items": ("categories", "tags"), "viewers": ()}


def _blank(column: str) -> Rule:
    blank = pl.col(column).str.strip_chars() == ""
    return Rule(f"a blank {column}", column, blank, pl.lit(None, dtype=pl.String))


def _repeats(column: str) -> Rule:
    distinct = pl.col(column).list.unique(maintain_order=True)
    repeated = pl.col(column).list.len() != distinct.list.len()
    return Rule(f"{column} named twice", column, repeated, distinct)


@dataclass(frozen=True)
class Normalisation(Step):
    """A blank text becomes none; a category or tag stands once. Ids are left byte for byte as they are."""

    name: ClassVar[str] = "normalisation"
    place: ClassVar[int] = 20

    def clean(self, table: str, frame: pl.DataFrame, tally: Tally, context: CleaningContext) -> pl.DataFrame:
        del context
        rules = [*map(_blank, _TEXTS[table]), *map(_repeats, _LISTS[table])]
        return apply_rules(frame, rules, tally)
