"""The stages over Ray Serve: histories are read at the ingress, sources and ranker answer from other replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.exceptions import RayActorError
from ray.serve.handle import DeploymentHandle

from foveate.explain import WhyNot
from foveate.explain.history import Story
from foveate.explain.ranking import Weighed
from foveate.messages import Candidates, Query, RecommendRequest, RequestContext, Slate
from foveate.model import Model
from foveate.pipeline import Contexts, Requests, hydrate
from foveate.state.base import ViewerState


@dataclass(frozen=True, slots=True)
class ToRank:
    """What the ranker is to score. Candidates with features never travel: it ranks and selects in one call."""

    query: Query
    candidates: Candidates


class RemoteStages:
    """The stages of a request and of its explanation by one bundle, for the ingress.

    Parameters
    ----------
    model
        The catalogue's part of the bundle.
    state
        Where histories are read.
    retriever, ranker
        Handles of the other two deployments.
    clock
        Gives UTC microseconds; a call ends when the context's deadline has passed.
    """

    def __init__(
        self,
        model: Model,
        state: ViewerState,
        retriever: DeploymentHandle[Any],
        ranker: DeploymentHandle[Any],
        clock: Callable[[], int],
    ) -> None:
        self._model = model
        self._state = state
        self._retriever = retriever
        self._ranker = ranker
        self._clock = clock

    async def hydrate(self, requests: Requests, contexts: Contexts) -> list[tuple[Query, int]]:
        """Read each viewer's history and its version, and gather what must not be shown."""
        return await asyncio.to_thread(hydrate, self._model, self._state, requests, contexts)

    async def retrieve(self, queries: Sequence[Query], contexts: Contexts) -> list[Candidates]:
        """Ask every candidate source and return the union."""
        found: list[Candidates] = await self._call(self._retriever.retrieve, contexts, list(queries), list(contexts))
        return found

    async def rank(
        self, queries: Sequence[Query], candidates: Sequence[Candidates], contexts: Contexts
    ) -> list[ToRank]:
        """Note what is to be ranked."""
        del contexts
        return [ToRank(*pair) for pair in zip(queries, candidates, strict=True)]

    async def select(self, requests: Requests, ranked: Sequence[ToRank], contexts: Contexts) -> list[Slate]:
        """Rank and choose the slate under the policy and its constraints."""
        arguments = (list(requests), list(ranked), list(contexts))
        slates: list[Slate] = await self._call(self._ranker.answer, contexts, *arguments)
        return slates

    async def stories(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[Story]:
        """Ask the sources what carried ``items``, which are among ``candidates``."""
        told: list[Story] = await self._call(self._retriever.stories, [context], query, candidates, items, context)
        return told

    async def weigh(self, request: RecommendRequest, ranked: ToRank, context: RequestContext) -> list[Weighed]:
        """Say what features, policy and rules made of each item of the slate."""
        told: list[Weighed] = await self._call(self._ranker.weigh, [context], request, ranked, context)
        return told

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Ask every source for an item's place among all that are open to the viewer."""
        told: dict[str, int] = await self._call(self._retriever.source_ranks, [context], query, code, context)
        return told

    async def judge(self, request: RecommendRequest, ranked: ToRank, context: RequestContext, item_id: str) -> WhyNot:
        """Say what ranker, policy and rules made of a candidate."""
        told: WhyNot = await self._call(self._ranker.judge, [context], request, ranked, context, item_id)
        return told

    async def _call(self, method: DeploymentHandle[Any], contexts: Contexts, *args: Any) -> Any:
        """Call a replica; a lost one is replaced by another, once. Ends at the earliest deadline."""
        deadline = min(context.deadline for context in contexts)
        try:
            return await self._within(deadline, method.remote(*args))
        except RayActorError:
            return await self._within(deadline, method.remote(*args))

    async def _within(self, deadline: int, response: Any) -> Any:
        try:
            async with asyncio.timeout(max(0.0, (deadline - self._clock()) / 1e6)):
                return await response
        except (TimeoutError, asyncio.CancelledError):
            # Without this the replica would work on for nobody.
            response.cancel()
            raise
