"""The stages of a request in this replica: each batched, by whichever bundle a request pins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from foveate.bundle import Bundle
from foveate.core.messages import Candidates, Query, RecommendRequest, RequestContext, Slate, ViewerHistory
from foveate.recommend.explain.elimination import source_ranks
from foveate.recommend.explain.history import ItemAttribution, attribute_items
from foveate.recommend.model import Model
from foveate.recommend.pipeline import Observer, hydrate, observed, rank, retrieve, select
from foveate.recommend.surfaces.base import surface_of
from foveate.retrieval.base import CandidateSource
from foveate.retrieval.extended import candidates_within, within
from foveate.state.base import ViewerEvent, ViewerState
from foveate_serve.names import RANKER, RETRIEVER
from foveate_serve.stages.batcher import Batched, Batcher
from foveate_serve.telemetry import Telemetry, names

Call = tuple[Model, RecommendRequest, RequestContext]

LATE_S: Final = 0.25
"""Seconds of one read after which the requests behind it are read beside it, in another thread.

A busy server reads for a tenth of a second: threads beside each other would then only wait for the interpreter.
"""
_SPARE: Final = 3
"""How many reads that late are waited for; requests then wait as well, each until its share of the deadline is over."""


class Hydrator:
    """Reads histories and turns them into queries.

    Parameters
    ----------
    state
        Where histories are read.
    largest
        Most requests of one batch.
    telemetry
        Where it tells what it does.
    """

    def __init__(self, state: ViewerState, largest: int, telemetry: Telemetry | None = None) -> None:
        self._state = state
        self._telemetry = telemetry or Telemetry.unseen()
        # Requests of one bundle are read together: a store on another machine is then asked once.
        self._batcher: Batcher[Call, tuple[Query, int]] = Batcher(
            "hydrator", self._work, largest, key=lambda call: id(call[0]), spare=_SPARE, late_s=LATE_S
        )

    async def hydrate(self, model: Model, request: RecommendRequest, context: RequestContext) -> tuple[Query, int]:
        """Return a viewer's query and the version of the history in it.

        Raises
        ------
        StateError
            The store cannot be read.
        """
        return await self._batcher.ask((model, request, context))

    async def without_history(
        self, model: Model, request: RecommendRequest, context: RequestContext
    ) -> tuple[Query, int]:
        """Return the query of the same viewer as if nothing were known; what the request forbids stays forbidden."""
        [answer] = await asyncio.to_thread(hydrate, model, _NoState(), [request], [context])
        return answer

    def _work(self, calls: Sequence[Call]) -> list[tuple[Query, int]]:
        contexts = [context for _, _, context in calls]
        with self._telemetry.stage(names.HYDRATE, contexts):
            return hydrate(calls[0][0], self._state, [request for _, request, _ in calls], contexts)


class _NoState:
    """Knows no viewer."""

    def history(self, user_id: str, version: int | None = None) -> ViewerHistory:
        """Return an empty history."""
        del version
        nothing = np.empty(0, dtype=np.int64)
        return ViewerHistory(user_id, (), (), nothing.astype(np.float32), nothing)

    def histories(self, user_ids: Sequence[str]) -> list[ViewerHistory]:
        """Return as many empty histories."""
        return [self.history(user_id) for user_id in user_ids]

    def append(self, events: Sequence[ViewerEvent]) -> int:
        """Keep nothing."""
        del events
        return 0


RetrieveCall = tuple[Query, RequestContext]


class Retriever(Batched[Bundle, RetrieveCall, Candidates]):
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

    def _answers(self, calls: Sequence[RetrieveCall]) -> list[Candidates]:
        queries, contexts = [query for query, _ in calls], [context for _, context in calls]
        model = self._slots.bundle(contexts[0].bundle_id).model
        with self._telemetry.stage(names.RETRIEVE, contexts):
            # Who asks may know of newer items than this replica does.
            found = retrieve(model, [within(query, len(model.catalog)) for query in queries], contexts)
        self._telemetry.candidates(found)
        return found


Notes = TypeVar("Notes")
RankCall = tuple[RecommendRequest, Query, Candidates, RequestContext]


class Ranker(Batched[Bundle, RankCall, Slate]):
    """Scores candidates and chooses the slate."""

    name = RANKER

    async def answer(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> Slate:
        """Return a request's slate by the bundle that its context pins.

        Candidates with features never travel: it ranks and selects in one call.
        """
        return await self._batcher.ask((request, query, candidates, context))

    async def observed(
        self,
        request: RecommendRequest,
        query: Query,
        candidates: Candidates,
        context: RequestContext,
        observer: Observer[Notes],
    ) -> tuple[Slate, Notes]:
        """Return a request's slate, and what an observer notes of how it came about."""
        model = self._slots.bundle(context.bundle_id).model
        return await asyncio.to_thread(observed, model, request, query, candidates, context, observer=observer)

    def _answers(self, calls: Sequence[RankCall]) -> list[Slate]:
        requests, queries, candidates, contexts = zip(*calls, strict=True)
        model = self._slots.bundle(contexts[0].bundle_id).model
        with self._telemetry.stage(names.RANK, contexts):
            # As above.
            n_items = len(model.catalog)
            known = [candidates_within(one, n_items) for one in candidates]
            ranked = rank(model, [within(query, n_items) for query in queries], known, contexts)
        with self._telemetry.stage(names.SELECT, contexts):
            return select(model, requests, ranked, contexts)
