"""The stages of one request behind an ingress, and what stands in for a stage that is lost or slow.

Without the viewer's history the viewer counts as new; without the retriever everyone's favourites are the candidates;
without the ranker the candidates keep the order that their sources gave them. A slate says which of these it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import StateError
from foveate.core.messages import Candidates, Query, RecommendRequest, RequestContext, Slate
from foveate.recommend.explain.history import ItemAttribution
from foveate.recommend.fallback import by_retrieval, trending
from foveate.recommend.model import Model
from foveate.recommend.pipeline import Trace, select
from foveate_serve.config import HYDRATION_SHARE, RANKING_SHARE, RETRIEVAL_SHARE
from foveate_serve.names import COVERAGE
from foveate_serve.stages.guarded import Guarded, LostError
from foveate_serve.stages.local import Hydrator
from foveate_serve.stages.remote import RankerStage, RetrieverStage
from foveate_serve.telemetry import about

logger = logging.getLogger("ray.serve")


class ServedStages:
    """The stages of one request and of its explanation by one bundle.

    Parameters
    ----------
    model
        The catalogue's part of the bundle.
    hydrator
        Reads histories.
    retriever, ranker
        The other two stages.
    seconds
        The time that the request has. It is counted by a clock that nobody sets, not by the time of day.
    hydration_share
        Share of the request's time by which the history must be read.
    """

    def __init__(
        self,
        model: Model,
        hydrator: Guarded[Hydrator],
        retriever: Guarded[RetrieverStage],
        ranker: Guarded[RankerStage],
        seconds: float,
        *,
        hydration_share: float = HYDRATION_SHARE,
    ) -> None:
        self._model = model
        self._hydrator = hydrator
        self._retriever = retriever
        self._ranker = ranker
        self._seconds = seconds
        self._began = time.monotonic()
        self._hydration_share = hydration_share
        self._without_retriever = False
        self.degraded: list[str] = []
        """What stood in for a stage, so far."""

    async def hydrate(self, request: RecommendRequest, context: RequestContext) -> tuple[Query, int]:
        """Read the viewer's history and its version, or take the viewer for a new one."""
        try:
            async with self._hydrator.within(self._left(self._hydration_share)) as hydrator:
                return await hydrator.hydrate(self._model, request, context)
        except StateError as error:
            self._note("history_unavailable", error, context)
        except LostError as lost:
            self._note(str(lost), lost.cause, context)
        return await self._hydrator.stage.without_history(self._model, request, context)

    async def retrieve(self, query: Query, context: RequestContext) -> Candidates:
        """Ask every candidate source and return the union, or everyone's favourites."""
        try:
            async with self._retriever.within(self._left(RETRIEVAL_SHARE)) as retriever:
                found = await retriever.retrieve(query, context)
        except LostError as lost:
            candidates = trending(self._model, query, max(self._model.recipe.counts))
            if candidates is None:
                raise lost.cause from None
            self._without_retriever = True
            self._note(str(lost), lost.cause, context)
            return candidates
        if found.coverage < 1:
            # However little is missing, it is not all.
            self.degraded.append(f"{COVERAGE}_{min(found.coverage, 0.99):.2f}")
        return found

    async def answer(
        self,
        request: RecommendRequest,
        query: Query,
        candidates: Candidates,
        context: RequestContext,
        trace: Trace[Any] | None = None,
    ) -> Slate:
        """Rank and choose the slate under the policy and its constraints, or choose it in the order of retrieval.

        Only what came about without any substitute is observed.
        """
        if self._without_retriever:
            # The ranker knows only what its own sources say of a candidate.
            slate = await self._unranked(request, query, candidates, context)
            return replace(slate, degraded=tuple(self.degraded))
        try:
            if trace is None or self.degraded:
                async with self._ranker.within(self._left(RANKING_SHARE)) as ranker:
                    slate = await ranker.answer(request, query, candidates, context)
            else:
                async with self._ranker.within(self._left(1.0), counted=False) as ranker:
                    slate, trace.notes = await ranker.observed(request, query, candidates, context, trace.observer)
        except LostError as lost:
            self._note(str(lost), lost.cause, context)
            slate = await self._unranked(request, query, candidates, context)
        return replace(slate, degraded=tuple(self.degraded)) if self.degraded else slate

    async def attribute_items(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[ItemAttribution]:
        """Attribute ``items``, which are among ``candidates``, to the history, by the sources that offered them."""
        async with asyncio.timeout(self._left(1.0)):
            return await self._retriever.stage.attribute_items(query, candidates, items, context)

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Ask every source for an item's place among all that are open to the viewer."""
        async with asyncio.timeout(self._left(1.0)):
            return await self._retriever.stage.source_ranks(query, code, context)

    async def _unranked(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> Slate:
        ranked = by_retrieval(query, candidates)
        # The odds are made for the ranker's scores.
        context = replace(context, exploration="")
        [slate] = await asyncio.to_thread(select, self._model, [request], [ranked], [context])
        return slate

    def _left(self, share: float) -> float:
        """Return the seconds until a share of the request's time is over."""
        return max(0.0, self._began + share * self._seconds - time.monotonic())

    def _note(self, reason: str, error: BaseException, context: RequestContext) -> None:
        self.degraded.append(reason)
        logger.warning("%s: %s", reason, str(error) or type(error).__name__, extra=about(context))
