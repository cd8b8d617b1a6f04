"""The stages of one request behind an ingress, and what stands in for a stage that is lost or slow.

Without the viewer's history the viewer counts as new; without the retriever everyone's favourites are the candidates;
without the ranker the candidates keep the order that their sources gave them. A slate says which of these it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import FoveateError, StateError
from foveate.core.messages import Candidates, Query, RecommendRequest, RequestContext, Slate
from foveate.recommend.explain import WhyNot
from foveate.recommend.explain.history import Story
from foveate.recommend.explain.ranking import Weighed
from foveate.recommend.fallback import by_retrieval, trending
from foveate.recommend.model import Model
from foveate.recommend.pipeline import select
from foveate_serve.names import COVERAGE
from foveate_serve.stages.guarded import Guarded, LostError
from foveate_serve.stages.hydrator import Hydrator, without_history
from foveate_serve.stages.peers import RankerStage, RetrieverStage
from foveate_serve.telemetry import about

logger = logging.getLogger("ray.serve")

HYDRATION_SHARE: Final = 0.3
"""Of the time that a request has; a viewer whose history has not come by then counts as new."""
RETRIEVAL_SHARE: Final = 0.6
"""Of the same; what the retriever has not answered by then, everyone's favourites answer."""
RANKING_SHARE: Final = 0.9
"""Of the same; the rest is kept for the order of retrieval and for the way back."""


class ServedStages:
    """The stages of one request and of its explanation by one bundle.

    Parameters
    ----------
    model
        The catalogue's part of the bundle.
    hydrator, retriever, ranker
        The stages that all requests share.
    clock
        Gives UTC microseconds.
    """

    def __init__(
        self,
        model: Model,
        hydrator: Guarded[Hydrator],
        retriever: Guarded[RetrieverStage],
        ranker: Guarded[RankerStage],
        clock: Callable[[], int],
    ) -> None:
        self._model = model
        self._hydrator = hydrator
        self._retriever = retriever
        self._ranker = ranker
        self._clock = clock
        self._began = clock()
        self._retriever_stood_in = False
        self.degraded: list[str] = []
        """What stood in for a stage, so far."""

    async def hydrate(self, request: RecommendRequest, context: RequestContext) -> tuple[Query, int]:
        """Read the viewer's history and its version; the query of a new viewer where it cannot be read in time."""
        model, seconds = self._model, self._share(HYDRATION_SHARE, context)
        try:
            return await self._hydrator.ask(seconds, lambda stage: stage.hydrate(model, request, context))
        except StateError as error:
            self._note(f"{self._hydrator.stage.name}_unavailable", error, context)
        except LostError as lost:
            self._note(str(lost), lost.cause, context)
        return await asyncio.to_thread(without_history, model, request, context)

    async def retrieve(self, query: Query, context: RequestContext) -> Candidates:
        """Ask every candidate source and return the union, or everyone's favourites."""
        seconds = self._share(RETRIEVAL_SHARE, context)
        try:
            found = await self._retriever.ask(seconds, lambda stage: stage.retrieve(query, context))
        except LostError as lost:
            candidates = trending(self._model, query, max(self._model.recipe.counts))
            if candidates is None:
                raise lost.cause from None
            self._note(str(lost), lost.cause, context)
            self._retriever_stood_in = True
            return candidates
        if found.seen < 1:
            # However little is missing, it is not all.
            self.degraded.append(f"{COVERAGE}_{min(found.seen, 0.99):.2f}")
        return found

    async def answer(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> Slate:
        """Rank and choose the slate under the policy and its constraints, or choose it in the order of retrieval."""
        # The ranker knows only what its own sources say of a candidate.
        if not self._retriever_stood_in:
            seconds = self._share(RANKING_SHARE, context)
            try:
                return await self._ranker.ask(seconds, lambda stage: stage.answer(request, query, candidates, context))
            except LostError as lost:
                self._note(str(lost), lost.cause, context)
        ranked = by_retrieval(query, candidates)
        [slate] = await asyncio.to_thread(select, self._model, [request], [ranked], [context])
        return slate

    async def stories(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[Story]:
        """Ask the sources what carried ``items``, which are among ``candidates``."""
        async with self._explaining(context):
            return await self._retriever.stage.stories(query, candidates, items, context)

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Ask every source for an item's place among all that are open to the viewer."""
        async with self._explaining(context):
            return await self._retriever.stage.source_ranks(query, code, context)

    async def weigh(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> list[Weighed]:
        """Say what features, policy and rules made of each item of the slate."""
        async with self._explaining(context):
            return await self._ranker.stage.weigh(request, query, candidates, context)

    async def judge(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext, item_id: str
    ) -> WhyNot:
        """Say what ranker, policy and rules made of a candidate."""
        async with self._explaining(context):
            return await self._ranker.stage.judge(request, query, candidates, context, item_id)

    def _explaining(self, context: RequestContext) -> asyncio.Timeout:
        """Return what bounds a question that nothing can stand in for.

        Raises
        ------
        StageLostError
            Something has stood in for a stage already: there is no ranking to explain.
        """
        if self.degraded:
            raise StageLostError(f"the slate cannot be explained, for stages were missing ({', '.join(self.degraded)})")
        return asyncio.timeout(max(0.0, (context.deadline - self._clock()) / 1e6))

    def _share(self, share: float, context: RequestContext) -> float:
        """Return the seconds until so much of the request's time is over."""
        due = self._began + share * (context.deadline - self._began)
        return (due - self._clock()) / 1e6

    def _note(self, reason: str, error: BaseException, context: RequestContext) -> None:
        self.degraded.append(reason)
        logger.warning("%s: %s", reason, str(error) or type(error).__name__, extra=about(context))


class StageLostError(FoveateError):
    """A stage is missing for which nothing can stand in."""
