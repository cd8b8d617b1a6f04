"""Surface: videos related to one video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from foveate.core.errors import NotFoundError, RequestError
from foveate.core.messages import Candidates, Query, Ranked, RecommendRequest, RequestContext, ViewerHistory
from foveate.data.catalog import Catalog
from foveate.data.vocabulary import UNKNOWN
from foveate.features.candidate import z_scores
from foveate.recommend.fallback import by_retrieval
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.recommend.surfaces.base import FAVOURITES, Surface
from foveate.retrieval.base import Arrays, CandidateSource
from foveate.retrieval.sparse import unit_rows

_WORD: Final = r"\p{L}[\p{L}\p{M}']+"
"""Of a title: two letters or more; a year or a number of a series tells nothing of likeness."""


def item_marks(catalog: Catalog) -> sparse.csr_matrix:
    """Return ``[I, M]`` rows of unit length: words of the title, categories, tags and channel, the rare ones heavier.

    A mark that ``n`` of ``I`` items bear weighs ``log(I / n)``. Source: Sparck Jones, A statistical interpretation of
    term specificity and its application in retrieval (1972), section 3.
    """

    def marks() -> sparse.csr_matrix:
        words = catalog.frame.select(item=pl.int_range(pl.len()), word=pl.col("title").str.to_lowercase())
        words = words.with_columns(pl.col("word").str.extract_all(_WORD)).explode("word").drop_nulls().unique()
        code = words["word"].rank("dense").cast(pl.Int64).to_numpy() - 1
        channel, shape = catalog.channel, (len(catalog), int(code.max(initial=-1)) + 1)
        own = np.flatnonzero(channel >= 0)
        blocks = [
            sparse.csr_matrix((np.ones(len(code)), (words["item"].to_numpy(), code)), shape=shape),
            catalog.categories,
            catalog.tags,
            sparse.csr_matrix((np.ones(len(own)), (own, channel[own])), shape=(len(catalog), len(catalog.channels))),
        ]
        found = sparse.hstack(blocks).astype(np.float64).tocsr()
        weight_M = np.log(max(1, len(catalog)) / np.maximum(1, found.getnnz(axis=0)))
        return unit_rows((found @ sparse.diags_array(weight_M)).tocsr())

    return catalog.once("item_marks", marks)


class Likeness(CandidateSource):
    """Scores items by the cosine of their marks and those of the query's newest event.

    Parameters
    ----------
    catalog
        The items.
    """

    name: str = "likeness"
    reads_history: bool = True

    def __init__(self, catalog: Catalog) -> None:
        self._marks_IM = item_marks(catalog)

    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return ``[B, I]``: from 0 to 1; 0 for every item where there is no event."""
        newest = [query.items[-1:] for query in queries]
        there_B = np.array([len(own) > 0 for own in newest], dtype=bool)
        scores_BI = np.zeros((len(queries), self._marks_IM.shape[0]), dtype=np.float32)
        if there_B.any():
            scores_BI[there_B] = (self._marks_IM[np.concatenate(newest)] @ self._marks_IM.T).toarray()
        return scores_BI

    def arrays(self) -> Arrays:
        """Return nothing: a catalogue is all it takes."""
        return {}


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
