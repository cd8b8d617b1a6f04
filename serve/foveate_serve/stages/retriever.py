"""The candidate sources as a stage: batched, by whichever bundle a request pins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveate.explain.history import Story, stories
from foveate.explain.judging import source_ranks
from foveate.messages import Candidates, Query, RequestContext
from foveate.pipeline import retrieve
from foveate.retrieval.base import CandidateSource
from foveate.surfaces.base import surface_of
from foveate_serve.bundles.holder import BundleHolder
from foveate_serve.sight import Sight, names
from foveate_serve.stages.batcher import Batcher
from foveate_serve.stages.grouped import by_bundle

Call = tuple[Query, RequestContext]


class Retriever:
    """Asks the candidate sources.

    Parameters
    ----------
    holder
        The bundles of this replica.
    largest
        Most requests of one batch.
    sight
        Where it tells what it does.
    """

    def __init__(self, holder: BundleHolder, largest: int, sight: Sight | None = None) -> None:
        self._holder = holder
        self._sight = sight or Sight.unseen()
        self._batcher: Batcher[Call, Candidates] = Batcher("retriever", self._work, largest)

    async def retrieve(self, query: Query, context: RequestContext) -> Candidates:
        """Return a query's candidates by the bundle that its context pins."""
        return await self._batcher.ask((query, context))

    async def stories(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[Story]:
        """Say what carried ``items``, which are among ``candidates``."""
        sources = self._sources(context)
        return await asyncio.to_thread(stories, sources, query, candidates, items)

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Return an item's place by each source."""
        sources = self._sources(context)
        return await asyncio.to_thread(source_ranks, sources, query, code)

    def _sources(self, context: RequestContext) -> tuple[CandidateSource, ...]:
        return surface_of(context.surface).sources(self._holder.bundle(context.bundle_id).model)

    def _work(self, calls: Sequence[Call]) -> list[Candidates]:
        with self._sight.stage(names.RETRIEVE, [context for _, context in calls]):
            found = by_bundle(
                self._holder,
                calls,
                pinned=lambda call: call[1].bundle_id,
                work=lambda bundle, own: retrieve(bundle.model, *zip(*own, strict=True)),
            )
        self._sight.candidates(found)
        return found
