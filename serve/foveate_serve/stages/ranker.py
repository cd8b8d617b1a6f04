"""Ranker and slate as a stage: batched, by whichever bundle a request pins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from foveate.bundle import Bundle
from foveate.core.messages import Candidates, Query, RecommendRequest, RequestContext, Slate
from foveate.recommend.pipeline import Observer, observed, rank, select
from foveate_serve.names import RANKER
from foveate_serve.stages.batcher import Batched
from foveate_serve.telemetry import names

Notes = TypeVar("Notes")
Call = tuple[RecommendRequest, Query, Candidates, RequestContext]


class Ranker(Batched[Bundle, Call, Slate]):
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

    def _answers(self, calls: Sequence[Call]) -> list[Slate]:
        requests, queries, candidates, contexts = zip(*calls, strict=True)
        model = self._slots.bundle(contexts[0].bundle_id).model
        with self._telemetry.stage(names.RANK, contexts):
            ranked = rank(model, queries, candidates, contexts)
        with self._telemetry.stage(names.SELECT, contexts):
            return select(model, requests, ranked, contexts)
