"""Programmes that have just come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from foveate.core.messages import Query, RecommendRequest, RequestContext, ViewerHistory
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.recommend.surfaces.base import Surface, without
from foveate.recommend.surfaces.schedule import NO_DATES, OFFERED, Schedule, out_at


@dataclass(frozen=True)
class Fresh(Surface):
    """The programmes that came out last, the newest first, without what the viewer has seen."""

    name: ClassVar[str] = "fresh"
    ranked: ClassVar[bool] = False
    diversified: ClassVar[bool] = False

    def query(self, model: Model, history: ViewerHistory, request: RecommendRequest, context: RequestContext) -> Query:
        """Return the viewer's query without what is not out yet, or came out nobody knows when."""
        query = super().query(model, history, request, context)
        out = out_at(model.catalog)
        return without(query, ~(out.known & (out.times <= context.now)))

    def lacks(self, model: Model, context: RequestContext) -> str:
        """Return that no item has a date, if so."""
        del context
        return "" if out_at(model.catalog).known.any() else NO_DATES

    def offers(self, recipe: Recipe) -> Mapping[str, int]:
        """Return the one source, the catalogue's dates."""
        return {self.name: max(recipe.candidates, OFFERED)}

    def sources(self, model: Model) -> tuple[Schedule]:
        """Return the catalogue's dates."""
        return (Schedule(self.name, out_at(model.catalog)),)
