"""Answers of a :class:`~foveate.api.recommender.Recommender`: printed, shown in a notebook, or read as a frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from foveate.core.messages import RecommendRequest, RequestContext, Slate
from foveate.core.tables import Tabular
from foveate.recommend.explain.answers import ItemExplanation, SlateExplanation, WhyNot
from foveate.recommend.model import Model
from foveate.recommend.surfaces.base import why_empty

_ITEMS: dict[str, type[pl.DataType] | pl.DataType] = {
    "position": pl.Int64,
    "item_id": pl.String,
    "title": pl.String,
    "channel_id": pl.String,
    "score": pl.Float64,
    "sources": pl.List(pl.String),
}


@dataclass(frozen=True, repr=False)
class Recommendations(Tabular):
    """A slate with what the catalogue says of its items.

    Parameters
    ----------
    slate
        What was chosen.
    request, context
        What was asked, and what was pinned for it: with the same moment and seed the same slate comes out again.
    simulated
        Whether the model learned from a simulated world.
    model
        Whose catalogue titles and channels are read from.
    """

    slate: Slate
    request: RecommendRequest
    context: RequestContext
    simulated: bool
    model: Model

    @property
    def items(self) -> list[str]:
        """The items' ids, the first one first."""
        return [item.item_id for item in self.slate.items]

    @property
    def cold(self) -> bool:
        """Whether nothing was known of who asked."""
        return self.slate.is_cold(self.request)

    @property
    def heading(self) -> str:
        """For whom, where and by which bundle."""
        who = self.slate.user_id or "an anonymous visitor"
        stamp = " [simulated]" if self.simulated else ""
        cold = ", who has no history here" if self.cold and self.slate.user_id else ""
        note = f"\n{self.note}" if self.note else ""
        return f"{self.context.surface} for {who}{cold}, by bundle {self.slate.bundle_id}{stamp}{note}"

    @property
    def note(self) -> str:
        """Why there are no items; empty if there are some."""
        return "" if self.items else why_empty(self.model, self.request, self.context)

    def frame(self) -> pl.DataFrame:
        """Return one row an item, in slate order."""
        catalog = self.model.catalog
        facts = [catalog.frame.row(catalog.items.code(item), named=True) for item in self.items]
        rows = [
            {
                "position": item.position,
                "item_id": item.item_id,
                "title": fact["title"],
                "channel_id": fact["channel_id"],
                "score": item.score,
                "sources": list(item.sources),
            }
            for item, fact in zip(self.slate.items, facts, strict=True)
        ]
        return pl.DataFrame(rows, schema=_ITEMS)


@dataclass(frozen=True, repr=False)
class ManyRecommendations(Tabular):
    """Slates of several viewers, in the order in which they were named."""

    slates: tuple[Recommendations, ...]

    def __iter__(self) -> Iterator[Recommendations]:
        return iter(self.slates)

    def __len__(self) -> int:
        return len(self.slates)

    def __getitem__(self, index: int) -> Recommendations:
        return self.slates[index]

    @property
    def heading(self) -> str:
        """How many viewers there are."""
        return f"slates of {len(self.slates):,} viewers"

    def frame(self) -> pl.DataFrame:
        """Return one row an item of each slate, with the viewer's id."""
        empty = pl.DataFrame(schema={"user_id": pl.String, **_ITEMS})
        frames = [one.frame().insert_column(0, _named(one)) for one in self.slates]
        return pl.concat([empty, *frames])


@dataclass(frozen=True, repr=False)
class Explanation(Tabular):
    """Why each item of a slate stands in it; ``slate`` and ``context`` are what is explained."""

    explanation: SlateExplanation
    context: RequestContext
    simulated: bool

    @property
    def items(self) -> tuple[ItemExplanation, ...]:
        """Everything known of each item, in slate order."""
        return self.explanation.items

    @property
    def heading(self) -> str:
        """For whom and by which bundle."""
        stamp = " [simulated]" if self.simulated else ""
        return f"For {self.explanation.user_id}, by bundle {self.explanation.bundle_id}{stamp}"

    def frame(self) -> pl.DataFrame:
        """Return one row an item: its score and rank, the history it is attributed to, and why in a sentence."""
        schema = {
            "position": pl.Int64,
            "item_id": pl.String,
            "title": pl.String,
            "score": pl.Float64,
            "rank": pl.Int64,
            "carried_by": pl.String,
            "faithfulness": pl.Float64,
            "sentence": pl.String,
        }
        rows = [{name: getattr(item, name) for name in schema} for item in self.items]
        return pl.DataFrame(rows, schema=schema)


@dataclass(frozen=True, repr=False)
class Absence(Tabular):
    """Where an item fell on its way to a slate; ``answer`` has all of it."""

    answer: WhyNot
    context: RequestContext
    simulated: bool

    @property
    def where(self) -> str:
        """The stage at which it fell; ``shown``: it did not."""
        return self.answer.where

    @property
    def heading(self) -> str:
        """The answer in one sentence."""
        return self.answer.sentence + (" [simulated]" if self.simulated else "")

    def frame(self) -> pl.DataFrame:
        """Return one row: the stage, by what the item fell, and its ranks."""
        answer = self.answer
        row = {
            "item_id": answer.item_id,
            "title": answer.title,
            "where": answer.where,
            "by": list(answer.by),
            "rank": answer.rank,
            "candidates": answer.candidates,
            "score": answer.score,
        }
        types = (pl.String, pl.String, pl.String, pl.List(pl.String), pl.Int64, pl.Int64, pl.Float64)
        return pl.DataFrame([row], schema=dict(zip(row, types, strict=True)))


def _named(one: Recommendations) -> pl.Series:
    return pl.Series("user_id", [one.slate.user_id] * len(one.items), dtype=pl.String)
