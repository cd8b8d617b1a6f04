"""Surface: videos related to one video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np

from foveate.core.errors import NotFoundError, RequestError
from foveate.core.messages import Candidates, Query, Ranked, RecommendRequest, RequestContext, ViewerHistory
from foveate.data.vocabulary import UNKNOWN
from foveate.features.candidate import z_scores
from foveate.recommend.fallback import by_retrieval
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.recommend.surfaces.base import FAVOURITES, Surface
from foveate.recommend.surfaces.likeness import Likeness
from foveate.retrieval.base import CandidateSource

_WEIGHT: Final = 0.65
"""Of likeness beside the mean of the other sources, in deviations: a film's sequels come before what everyone saw."""

LIKE: Final = 50
"""How many items are candidates for being like the video alone."""


@dataclass(frozen=True)
class Related(Surface):
    """What goes with the video 'related_to', whoever asks, without what they have met.

    The query is that of a viewer who has watched this video and nothing else. The ranker does not take part: it has
    learned to order by whole histories, and would bring back what is liked by everyone.
    """

    name: ClassVar[str] = "related"
    needs: ClassVar[tuple[str, ...]] = ("related_to",)
    ranked: ClassVar[bool] = False

    def check(self, request: RecommendRequest, model: Model) -> None:
        """Refuse as every surface does, and an item that the catalogue does not hold."""
        super().check(request, model)
        if model.catalog.items.code(request.related_to or "") == UNKNOWN:
            raise NotFoundError(f"the catalogue of this bundle holds no item '{request.related_to}'")

    def query(self, model: Model, history: ViewerHistory, request: RecommendRequest, context: RequestContext) -> Query:
        """Return the query of a viewer of the one video; what the viewer has seen is left out."""
        assert request.related_to is not None  # noqa: S101 - check() has seen to it
        video = ViewerHistory(
            user_id=history.user_id,
            item_ids=(request.related_to, *history.item_ids),
            kinds=(model.positive_kinds[0], *history.kinds),
            values=np.concatenate([np.ones(1, dtype=np.float32), history.values]),
            times=np.concatenate([np.full(1, context.now, dtype=np.int64), history.times]),
        )
        return _first_event(model.query(video, context.filters, context.now))

    def offers(self, recipe: Recipe) -> Mapping[str, int]:
        """Return the sources whose answer depends on what was watched, and the likeness of items."""
        offers = {name: count for name, count in super().offers(recipe).items() if name not in FAVOURITES}
        if not any(offers.values()):
            raise RequestError("this bundle does not know what goes with a video: its sources read no history")
        return {**offers, Likeness.name: LIKE}

    def sources(self, model: Model) -> tuple[CandidateSource, ...]:
        """Return the fitted sources of :meth:`offers`, and the likeness of items."""
        fitted = {source.name: source for source in model.sources}
        own = (fitted[name] for name in self.offers(model.recipe) if name != Likeness.name)
        return (*own, Likeness(model.catalog))

    def rank(self, model: Model, queries: Sequence[Query], candidates: Sequence[Candidates]) -> list[Ranked]:
        """Order by likeness and by the mean of the other sources."""
        trained = len(model.catalog) - model.catalog.appended
        return [_ranked(query, found, trained) for query, found in zip(queries, candidates, strict=True)]


def _ranked(query: Query, candidates: Candidates, trained: int) -> Ranked:
    """Rank one query's candidates; a source that knows nothing of an item that came after training is left out."""
    ranked = by_retrieval(query, candidates)
    if Likeness.name not in candidates.sources or len(candidates.sources) == 1 or not len(candidates.items):
        return ranked
    z_NS, column = z_scores(candidates.scores), candidates.sources.index(Likeness.name)
    knows_NS = (candidates.items < trained)[:, None] | (candidates.scores != 0)
    knows_NS[:, column] = False
    others_N = (z_NS * knows_NS).sum(axis=1) / np.maximum(knows_NS.sum(axis=1), 1)
    return replace(ranked, scores=np.asarray(others_N + _WEIGHT * z_NS[:, column], dtype=np.float32))


def _first_event(query: Query) -> Query:
    """Return a query of the first event alone that excludes as much as the whole."""
    return Query(
        user_id=query.user_id,
        items=query.items[:1],
        times=query.times[:1],
        kinds=query.kinds[:1],
        values=query.values[:1],
        positives=query.positives[:1],
        exclude=query.exclude,
        now=query.now,
    )
