"""Channels that a viewer may want to follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from foveate.core.messages import Query, RecommendRequest, RequestContext, ViewerHistory
from foveate.data.vocabulary import UNKNOWN
from foveate.recommend.model import Model
from foveate.recommend.surfaces.base import Surface, without
from foveate.slate.constraints import Constraints


@dataclass(frozen=True)
class Channels(Surface):
    """Channels to follow: those of the best candidates that the viewer has not seen, one video each, with reasons."""

    name: ClassVar[str] = "channels"
    explained: ClassVar[bool] = True

    def query(self, model: Model, history: ViewerHistory, request: RecommendRequest, context: RequestContext) -> Query:
        """Return the viewer's query without the channels that they have met, or that an earlier page has shown."""
        catalog = model.catalog
        query = super().query(model, history, request, context)
        shown_I = np.isin(catalog.marks, np.array(context.filters.shown_before, dtype=np.uint32))
        met = np.union1d(catalog.channel[query.items], catalog.channel[shown_I])
        return without(query, np.isin(catalog.channel, np.append(met, UNKNOWN)))

    def lacks(self, model: Model, context: RequestContext) -> str:
        """Return that the catalogue has no channels, if so."""
        del context
        known = (model.catalog.channel != UNKNOWN).any()
        return "" if known else "the catalogue has no channels (column channel_id)"

    def constraints(self, constraints: Constraints) -> Constraints:
        """Return the recipe's rules, with a channel standing once at most."""
        return replace(constraints, max_per_channel=1)
