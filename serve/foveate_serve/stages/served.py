"""The stages of one request behind an ingress, and what stands in for a stage that is lost or slow.

Without the viewer's history the viewer counts as new; without the retriever everyone's favourites are the candidates;
without the ranker the candidates keep the order that their sources gave them. A slate says which of these it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import FoveateError, StateError
from foveate.core.messages import Candidates, Query, Ranked, RecommendRequest, RequestContext, Slate
from foveate.recommend.explain import WhyNot
from foveate.recommend.explain.history import Story
from foveate.recommend.explain.ranking import Weighed
from foveate.recommend.fallback import by_retrieval, trending
from foveate.recommend.model import Model
from foveate.recommend.pipeline import Contexts, Requests, select
from foveate_serve.names import COVERAGE
from foveate_serve.stages.guarded import Guarded, LostError
from foveate_serve.stages.hydrator import Hydrator
from foveate_serve.stages.ranker import ToRank
from foveate_serve.telemetry import about

logger = logging.getLogger("ray.serve")

T = TypeVar("T")

RETRIEVAL_SHARE: Final = 0.6
"""Of the time that a request has; what the retriever has not answered by then, everyone's favourites answer."""
RANKING_SHARE: Final = 0.9
"""Of the same; the rest is kept for the order of retrieval and for the way back."""


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
    clock
        Gives UTC microseconds.
    """

    def __init__(
        self, model: Model, hydrator: Hydrator, retriever: Guarded, ranker: Guarded, clock: Callable[[], int]
    ) -> None:
        self._model = model
        self._hydrator = hydrator
        self._retriever = retriever
        self._ranker = ranker
        self._clock = clock
        self._began = clock()
        self.degraded: list[str] = []
        """What stood in for a stage, so far."""

    async def hydrate(self, requests: Requests, contexts: Contexts) -> list[tuple[Query, int]]:
        """Read each viewer's history and its version, and gather what must not be shown."""
        return await _each(self._hydrated, requests, contexts)

    async def retrieve(self, queries: Sequence[Query], contexts: Contexts) -> list[Candidates]:
        """Ask every candidate source and return the union, or everyone's favourites."""
        return await _each(self._retrieved, queries, contexts)

    async def rank(
        self, queries: Sequence[Query], candidates: Sequence[Candidates], contexts: Contexts
    ) -> list[ToRank]:
        """Note what is to be ranked."""
        del contexts
        return [ToRank(*pair) for pair in zip(queries, candidates, strict=True)]

    async def select(self, requests: Requests, ranked: Sequence[ToRank], contexts: Contexts) -> list[Slate]:
        """Rank and choose the slate under the policy and its constraints, or choose it in the order of retrieval."""
        return await _each(self._selected, requests, ranked, contexts)

    async def stories(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[Story]:
        """Ask the sources what carried ``items``, which are among ``candidates``."""
        told: list[Story] = await self._asked(self._retriever, context, "stories", query, candidates, items, context)
        return told

    async def weigh(self, request: RecommendRequest, ranked: ToRank, context: RequestContext) -> list[Weighed]:
        """Say what features, policy and rules made of each item of the slate."""
        told: list[Weighed] = await self._asked(self._ranker, context, "weigh", request, ranked, context)
        return told

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Ask every source for an item's place among all that are open to the viewer."""
        told: dict[str, int] = await self._asked(self._retriever, context, "source_ranks", query, code, context)
        return told

    async def judge(self, request: RecommendRequest, ranked: ToRank, context: RequestContext, item_id: str) -> WhyNot:
        """Say what ranker, policy and rules made of a candidate."""
        told: WhyNot = await self._asked(self._ranker, context, "judge", request, ranked, context, item_id)
        return told

    async def _hydrated(self, request: RecommendRequest, context: RequestContext) -> tuple[Query, int]:
        try:
            return await self._hydrator.hydrate(self._model, request, context)
        except StateError as error:
            self._note("history_unavailable", error, context)
            return await self._hydrator.without_history(self._model, request, context)

    async def _retrieved(self, query: Query, context: RequestContext) -> Candidates:
        try:
            found: Candidates = await self._guarded(
                self._retriever, RETRIEVAL_SHARE, context, "retrieve", query, context
            )
        except LostError as lost:
            candidates = trending(self._model, query, max(self._model.recipe.counts))
            if candidates is None:
                raise lost.cause from None
            self._note(str(lost), lost.cause, context)
            return candidates
        if found.seen < 1:
            # However little is missing, it is not all.
            self.degraded.append(f"{COVERAGE}_{min(found.seen, 0.99):.2f}")
        return found

    async def _selected(self, request: RecommendRequest, to_rank: ToRank, context: RequestContext) -> Slate:
        if self._retriever_stood_in:
            # The ranker knows only what its own sources say of a candidate.
            return await self._unranked(request, to_rank, context)
        arguments = (request, to_rank, context)
        try:
            slate: Slate = await self._guarded(self._ranker, RANKING_SHARE, context, "answer", *arguments)
        except LostError as lost:
            self._note(str(lost), lost.cause, context)
            return await self._unranked(*arguments)
        return slate

    @property
    def _retriever_stood_in(self) -> bool:
        return any(reason.startswith(self._retriever.peer.name) for reason in self.degraded)

    async def _unranked(self, request: RecommendRequest, to_rank: ToRank, context: RequestContext) -> Slate:
        ranked: Ranked = by_retrieval(to_rank.query, to_rank.candidates)
        [slate] = await asyncio.to_thread(select, self._model, [request], [ranked], [context])
        return slate

    async def _guarded(self, guarded: Guarded, share: float, context: RequestContext, method: str, *args: Any) -> Any:
        """Ask a peer within its share of the time; raises as :meth:`Guarded.ask` does."""
        due = self._began + share * (context.deadline - self._began)
        return await guarded.ask(self._left(due), method, *args)

    async def _asked(self, guarded: Guarded, context: RequestContext, method: str, *args: Any) -> Any:
        """Ask a peer for what nothing can stand in for.

        Raises
        ------
        StageLostError
            Something has stood in for a stage already: there is no ranking to explain.
        """
        if self.degraded:
            raise StageLostError(f"the slate cannot be explained, for stages were missing ({', '.join(self.degraded)})")
        async with asyncio.timeout(max(0.0, self._left(context.deadline))):
            return await guarded.peer.ask(method, *args)

    def _left(self, due: float) -> float:
        """Return the seconds until a moment."""
        return (due - self._clock()) / 1e6

    def _note(self, reason: str, error: BaseException, context: RequestContext) -> None:
        self.degraded.append(reason)
        logger.warning("%s: %s", reason, str(error) or type(error).__name__, extra=about(context))


class StageLostError(FoveateError):
    """A stage is missing for which nothing can stand in."""


async def _each(ask: Callable[..., Awaitable[T]], *columns: Sequence[Any]) -> list[T]:
    """Ask for each row by itself: the stages gather batches from all the requests that are under way."""
    rows = list(zip(*columns, strict=True))
    if len(rows) == 1:
        return [await ask(*rows[0])]
    return list(await asyncio.gather(*(ask(*row) for row in rows)))
