"""Ranker and slate as a stage: batched, by whichever bundle a request pins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from foveate.bundle import Bundle
from foveate.core.messages import Candidates, Query, Ranked, RecommendRequest, RequestContext, Slate
from foveate.recommend.explain import WhyNot
from foveate.recommend.explain.judging import judge
from foveate.recommend.explain.ranking import Weighed, weigh
from foveate.recommend.model import Model
from foveate.recommend.pipeline import rank, select, view
from foveate_serve.names import RANKER
from foveate_serve.stages.batched import OfModels
from foveate_serve.telemetry import names

Call = tuple[RecommendRequest, Query, Candidates, RequestContext]


class Ranker(OfModels[Call, Slate]):
    """Scores candidates and chooses the slate."""

    name = RANKER

    async def answer(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> Slate:
        """Return a request's slate by the bundle that its context pins."""
        return await self._batcher.ask((request, query, candidates, context))

    async def weigh(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> list[Weighed]:
        """Say what features, policy and rules made of each item of the slate."""
        call = (request, query, candidates, context)
        return await asyncio.to_thread(lambda: weigh(*self._ranked(*call), request.k, context.seed))

    async def judge(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext, item_id: str
    ) -> WhyNot:
        """Say what ranker, policy and rules made of a candidate."""
        call = (request, query, candidates, context)
        return await asyncio.to_thread(lambda: judge(*self._ranked(*call), request.k, context.seed, item_id))

    def _ranked(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> tuple[Model, Ranked]:
        model = self._model(context)
        [ranked] = rank(model, [query], [candidates], [context])
        return view(model, request, context), ranked

    def _answers(self, held: Bundle, calls: Sequence[Call]) -> list[Slate]:
        requests, queries, candidates, contexts = map(list, zip(*calls, strict=True))
        with self._sight.stage(names.RANK, contexts):
            ranked = rank(held.model, queries, candidates, contexts)
        with self._sight.stage(names.SELECT, contexts):
            return select(held.model, requests, ranked, contexts)
