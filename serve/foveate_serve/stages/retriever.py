"""The candidate sources as a stage: batched, by whichever bundle a request pins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveate.bundle import Bundle
from foveate.core.messages import Candidates, Query, RequestContext
from foveate.recommend.explain.elimination import source_ranks
from foveate.recommend.explain.history import ItemAttribution, attribute_items
from foveate.recommend.pipeline import retrieve
from foveate.recommend.surfaces.base import surface_of
from foveate.retrieval.base import CandidateSource
from foveate.retrieval.extended import within
from foveate_serve.names import RETRIEVER
from foveate_serve.stages.batcher import Batched
from foveate_serve.telemetry import names

Call = tuple[Query, RequestContext]


class Retriever(Batched[Bundle, Call, Candidates]):
    """Asks the candidate sources."""

    name = RETRIEVER

    async def retrieve(self, query: Query, context: RequestContext) -> Candidates:
        """Return a query's candidates by the bundle that its context pins."""
        return await self._batcher.ask((query, context))

    async def attribute_items(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[ItemAttribution]:
        """Attribute ``items``, which are among ``candidates``, to the history, by the sources that offered them."""
        sources = self._sources(context)
        return await asyncio.to_thread(attribute_items, sources, query, candidates, items)

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Return an item's place by each source."""
        sources = self._sources(context)
        return await asyncio.to_thread(source_ranks, sources, query, code)

    def _sources(self, context: RequestContext) -> tuple[CandidateSource, ...]:
        return surface_of(context.surface).sources(self._slots.bundle(context.bundle_id).model)

    def _answers(self, calls: Sequence[Call]) -> list[Candidates]:
        queries, contexts = [query for query, _ in calls], [context for _, context in calls]
        model = self._slots.bundle(contexts[0].bundle_id).model
        with self._telemetry.stage(names.RETRIEVE, contexts):
            # Who asks may know of newer items than this replica does.
            found = retrieve(model, [within(query, len(model.catalog)) for query in queries], contexts)
        self._telemetry.candidates(found)
        return found
