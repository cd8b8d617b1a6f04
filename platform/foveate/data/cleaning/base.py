"""The seam of cleaning steps: each is one definition, and says what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import polars as pl

from foveate.core.registry import Registry, Variant
from foveate.data.dataset import StepReport

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
        for row in rows.head(N_EXAMPLES).iter_rows(named=True):
            self._keep(f"{fault}: " + ", ".join(f"{name}={_tell(value)}" for name, value in row.items()))

    def add(self, later: Tally) -> None:
        """Add what was done to a later piece of the table."""
        self.dropped += later.dropped
        self.mended += later.mended
        for example in later.examples:
            self._keep(example)

    def _keep(self, example: str) -> None:
        fault = example.partition(": ")[0]
        if sum(kept.startswith(f"{fault}: ") for kept in self.examples) < N_EXAMPLES:
            self.examples.append(example)


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


def steps() -> list[Step]:
    """Return every step in the order of the pipeline."""
    return sorted((cls() for _, cls in Step.variants.items()), key=lambda step: step.place)


class Pipeline:
    """All steps over one table that comes in pieces, and what they have done so far.

    Parameters
    ----------
    table
        ``log``, ``items`` or ``viewers``.
    context
        What the steps may know beside the rows.
    """

    def __init__(self, table: str, context: CleaningContext) -> None:
        self._table = table
        self._context = context
        self._steps = steps()
        self._tallies = {step.name: Tally() for step in self._steps}

    def clean(self, frame: pl.DataFrame, *, whole: bool) -> tuple[pl.DataFrame, dict[str, Tally]]:
        """Run the steps that see a piece at a time, or those that must see whole viewers.

        Returns the cleaned rows and what was done, which :meth:`count` adds up: pieces may be cleaned side by side.
        """
        tallies = {step.name: Tally() for step in self._steps if step.whole is whole}
        for step in self._steps:
            if step.whole is whole:
                frame = step.clean(self._table, frame, tallies[step.name], self._context)
        return frame, tallies

    def count(self, tallies: Mapping[str, Tally]) -> None:
        """Add up what was done to one piece; pieces are counted in order."""
        for name, tally in tallies.items():
            self._tallies[name].add(tally)

    def clean_all(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Run every step on a table that is there as a whole."""
        for whole in (False, True):
            frame, tallies = self.clean(frame, whole=whole)
            self.count(tallies)
        return frame

    def reports(self) -> list[StepReport]:
        """Return one report a step."""
        return [
            StepReport(step, self._table, tally.dropped, tally.mended, tuple(tally.examples))
            for step, tally in self._tallies.items()
        ]


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
