"""Ranker and slate as a stage: batched, by whichever bundle a request pins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class ToRank:
    """What the ranker is to score. Candidates with features never travel: it ranks and selects in one call."""

    query: Query
    candidates: Candidates


Call = tuple[RecommendRequest, ToRank, RequestContext]


class Ranker(OfModels[Call, Slate]):
    """Scores candidates and chooses the slate."""

    name = RANKER

    async def answer(self, request: RecommendRequest, to_rank: ToRank, context: RequestContext) -> Slate:
        """Return a request's slate by the bundle that its context pins."""
        return await self._batcher.ask((request, to_rank, context))

    async def weigh(self, request: RecommendRequest, to_rank: ToRank, context: RequestContext) -> list[Weighed]:
        """Say what features, policy and rules made of each item of the slate."""
        return await asyncio.to_thread(lambda: weigh(*self._ranked(request, to_rank, context), request.k, context.seed))

    async def judge(self, request: RecommendRequest, to_rank: ToRank, context: RequestContext, item_id: str) -> WhyNot:
        """Say what ranker, policy and rules made of a candidate."""
        return await asyncio.to_thread(
            lambda: judge(*self._ranked(request, to_rank, context), request.k, context.seed, item_id)
        )

    def _ranked(self, request: RecommendRequest, to_rank: ToRank, context: RequestContext) -> tuple[Model, Ranked]:
        model = self._model(context)
        [ranked] = rank(model, [to_rank.query], [to_rank.candidates], [context])
        return view(model, request, context), ranked

    def _answers(self, held: Bundle, calls: Sequence[Call]) -> list[Slate]:
        model, contexts = held.model, [context for _, _, context in calls]
        with self._sight.stage(names.RANK, contexts):
            ranked = rank(model, [one.query for _, one, _ in calls], [one.candidates for _, one, _ in calls], contexts)
        with self._sight.stage(names.SELECT, contexts):
            return select(model, [request for request, _, _ in calls], ranked, contexts)
