"""The seam of cleaning steps: each is one definition, and says what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import polars as pl

from foveate.data.dataset import StepReport
from foveate.registry import Registry, Variant

N_EXAMPLES = 3
"""How many examples a report shows for each table."""


@dataclass(frozen=True)
class Rule:
    """One fault that a row may have, and what is done about it.

    Parameters
    ----------
    fault
        What is wrong, in a few words.
    column
        The column it is about; the rule is left out where a table has no such column.
    when
        True where a row has the fault.
    mend
        The column's value where it has; None drops the row.
    needs
        Other columns that ``when`` or ``mend`` read.
    """

    fault: str
    column: str
    when: pl.Expr
    mend: pl.Expr | None = None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class CleaningContext:
    """What steps may know beside the rows.

    Parameters
    ----------
    now
        UTC microseconds that nothing can be later than; None judges no time.
    same
        Columns of the log in which duplicates agree; empty means all.
    """

    now: int | None = None
    same: tuple[str, ...] = ()


@dataclass
class Tally:
    """What one step has done to one table so far; a table comes in pieces."""

    dropped: int = 0
    mended: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, fault: str, rows: pl.DataFrame) -> None:
        """Keep a few of the rows that show ``fault``."""
        shown = sum(example.startswith(f"{fault}: ") for example in self.examples)
        for row in rows.head(max(0, N_EXAMPLES - shown)).iter_rows(named=True):
            told = ", ".join(f"{name}={_tell(value)}" for name, value in row.items())
            self.examples.append(f"{fault}: {told}")


class Step(Variant):
    """Base of the cleaning steps; each file of this package that defines one adds a step.

    ``place`` orders the pipeline, the smallest first. ``whole`` steps must see all rows of a viewer at once; the
    others see a piece of the log at a time.
    """

    variants: ClassVar[Registry[Step]]
    place: ClassVar[int]
    whole: ClassVar[bool] = False

    def clean(self, table: str, frame: pl.DataFrame, tally: Tally, context: CleaningContext) -> pl.DataFrame:
        """Return ``frame`` without the step's faults, and tell ``tally`` of what was done."""
        raise NotImplementedError


Step.variants = Registry("cleaning step", Step, "foveate.data.cleaning")


def apply_rules(frame: pl.DataFrame, rules: Sequence[Rule], tally: Tally) -> pl.DataFrame:
    """Drop and mend what ``rules`` find, each row judged as it stood before the first of them."""
    known = [rule for rule in rules if {rule.column, *rule.needs} <= set(frame.columns)]
    if not known or not frame.height:
        return frame
    # One pass finds all faults; most pieces of most logs have none of most, and cost no more than this pass.
    found = frame.select(rule.when.fill_null(value=False).alias(str(at)) for at, rule in enumerate(known))
    sums = found.select(pl.all().sum()).row(0)
    hits = {at: found[str(at)] for at, count in enumerate(sums) if count}
    for at, mask in hits.items():
        shown = [name for name in ("user_id", "item_id", known[at].column, *known[at].needs) if name in frame.columns]
        tally.note(
            known[at].fault, frame.lazy().filter(mask).head(N_EXAMPLES).select(list(dict.fromkeys(shown))).collect()
        )
    drops = _any(mask for at, mask in hits.items() if known[at].mend is None)
    mends = _any(mask for at, mask in hits.items() if known[at].mend is not None)
    if mends is not None:
        tally.mended += int((mends & ~drops).sum() if drops is not None else mends.sum())
        frame = frame.with_columns(**_mended(known, hits))
    if drops is not None:
        tally.dropped += int(drops.sum())
        frame = frame.filter(~drops)
    return frame


def reports(table: str, tallies: Mapping[str, Tally]) -> list[StepReport]:
    """Return one report a step."""
    return [
        StepReport(step, table, tally.dropped, tally.mended, tuple(tally.examples)) for step, tally in tallies.items()
    ]


def steps() -> list[Step]:
    """Return every step in the order of the pipeline."""
    return sorted((cls() for _, cls in Step.variants.items()), key=lambda step: step.place)


def _mended(rules: Sequence[Rule], hits: Mapping[int, pl.Series]) -> dict[str, pl.Expr]:
    columns: dict[str, pl.Expr] = {}
    for at, mask in hits.items():
        rule = rules[at]
        if rule.mend is not None:
            before = columns.get(rule.column, pl.col(rule.column))
            columns[rule.column] = pl.when(mask).then(rule.mend).otherwise(before)
    return columns


def _any(masks: object) -> pl.Series | None:
    out: pl.Series | None = None
    for mask in masks:  # type: ignore[attr-defined]
        out = mask if out is None else out | mask
    return out


def _tell(value: object) -> str:
    return str(value) if value is None or isinstance(value, (int, float, list)) else f"'{value}'"
