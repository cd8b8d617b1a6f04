"""Values that cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from foveate.data.cleaning.base import CleaningContext, Rule, Step, Tally, apply_rules
from foveate.data.importing.contacts import DURATION
from foveate.data.schema import OCCURRED_AT, RATE, TIMESTAMP, WATCH

_NOTHING = pl.lit(None, dtype=pl.Float32)


@dataclass(frozen=True)
class Outliers(Step):
    """Cuts a watch to the length of its video, forgets impossible numbers, drops what lies in the future."""

    name: ClassVar[str] = "outliers"
    place: ClassVar[int] = 30

    def clean(self, table: str, frame: pl.DataFrame, tally: Tally, context: CleaningContext) -> pl.DataFrame:
        return apply_rules(frame, _rules(table, context), tally)


def _rules(table: str, context: CleaningContext) -> list[Rule]:
    if table == "items":
        seconds = pl.col("duration_seconds")
        impossible = (seconds <= 0) | ~seconds.is_finite()
        return [Rule("a duration of 0 or less", "duration_seconds", impossible, _NOTHING)]
    if table != "log":
        return []
    watch, rate, duration = pl.col(WATCH), pl.col(RATE), pl.col(DURATION)
    rules = [
        # Replays make a watch longer than its video; attention beyond one viewing is not comparable.
        Rule("a watch longer than the video", WATCH, (watch > duration) & (duration > 0), duration, (DURATION,)),
        Rule("a negative watch", WATCH, (watch < 0) | watch.is_infinite(), _NOTHING),
        Rule("a rating that is no number", RATE, ~rate.is_finite(), _NOTHING),
    ]
    if context.now is not None:
        limit = pl.lit(context.now).cast(TIMESTAMP)
        rules.append(Rule("a time in the future", OCCURRED_AT, pl.col(OCCURRED_AT) > limit))
    return rules
