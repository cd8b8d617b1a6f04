"""Programmes that are still to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from foveate.core.messages import NO_TIME, Query, RecommendRequest, RequestContext, ViewerHistory
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.recommend.surfaces.base import Surface, without
from foveate.recommend.surfaces.schedule import NO_DATES, OFFERED, Schedule, out_at


@dataclass(frozen=True)
class Upcoming(Surface):
    """The programmes that are to come out next, the soonest first."""

    name: ClassVar[str] = "upcoming"
    ranked: ClassVar[bool] = False
    diversified: ClassVar[bool] = False

    def query(self, model: Model, history: ViewerHistory, request: RecommendRequest, context: RequestContext) -> Query:
        """Return the viewer's query without what is out: here alone may stand what is not."""
        del request
        # A clock that is order only shuts nothing out for being in the future.
        query = replace(model.query(history, context.filters, NO_TIME), now=context.now)
        out = out_at(model.catalog)
        return without(query, np.less_equal(out.times, context.now))

    def lacks(self, model: Model, context: RequestContext) -> str:
        """Return that no item has a date, or none a later one, if so."""
        out = out_at(model.catalog)
        if not out.known.any():
            return NO_DATES
        return "" if (out.times[out.known] > context.now).any() else "no item comes out after the time of the request"

    def offers(self, recipe: Recipe) -> Mapping[str, int]:
        """Return the one source, the catalogue's dates."""
        return {self.name: max(recipe.candidates, OFFERED)}

    def sources(self, model: Model) -> tuple[Schedule]:
        """Return the catalogue's dates."""
        return (Schedule(self.name, out_at(model.catalog)),)
