"""The stages that a replica asks: what each can be asked, and how it is asked in a deployment of its own."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from foveate.core.messages import Candidates, Query, RecommendRequest, RequestContext, Slate
from foveate.recommend.explain.history import ItemAttribution
from foveate.recommend.pipeline import Observer
from foveate.retrieval.shards import Found
from foveate_serve.bundles.slots import Status
from foveate_serve.stages.searcher import Wanted

Notes = TypeVar("Notes")

_STATUS_TIMEOUT_S = 2.0
_STATUS_RETRY_S = 0.05


class RetrieverStage(Protocol):
    """The candidate sources: in this replica, or in others."""

    async def retrieve(self, query: Query, context: RequestContext) -> Candidates:
        """Return a query's candidates by the bundle that its context pins."""
        ...

    async def attribute_items(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[ItemAttribution]:
        """Attribute ``items``, which are among ``candidates``, to the history, by the sources that offered them."""
        ...

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Return an item's place by each source."""
        ...


class RankerStage(Protocol):
    """Ranker and slate: in this replica, or in others."""

    async def answer(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> Slate:
        """Return a request's slate by the bundle that its context pins."""
        ...

    async def observed(
        self,
        request: RecommendRequest,
        query: Query,
        candidates: Candidates,
        context: RequestContext,
        observer: Observer[Notes],
    ) -> tuple[Slate, Notes]:
        """Return a request's slate, and what an observer notes of how it came about."""
        ...


class SearcherStage(Protocol):
    """One shard of the encoder's items."""

    async def best(self, wanted: Wanted, context: RequestContext) -> Found:
        """Return a viewer's best items by the bundle that the context pins."""
        ...


class Remote:
    """A deployment that is asked by its handle.

    Parameters
    ----------
    name
        Of the deployment.
    handle
        Its handle.
    """

    def __init__(self, name: str, handle: DeploymentHandle[Any]) -> None:
        self.name = name
        self.handle = handle

    async def status(self) -> list[Status]:
        """Return what each replica holds; one that does not answer counts as a problem."""
        give_up = time.monotonic() + _STATUS_TIMEOUT_S
        while True:
            try:
                asked = self.handle.broadcast("status")
                answers = await asked.results_async(timeout_s=_STATUS_TIMEOUT_S, return_exceptions=True)
            except DeploymentUnavailableError as error:
                # Ray leaves a replica out while it tells it of a bundle: without another, one waits.
                if time.monotonic() < give_up:
                    await asyncio.sleep(_STATUS_RETRY_S)
                    continue
                answers = [error]
            except Exception as error:
                answers = [error]
            break
        return [_status(self.name, answer) for answer in answers or ["it has no replica"]]


class RemoteRetriever(Remote):
    """The candidate sources in a deployment of their own."""

    async def retrieve(self, query: Query, context: RequestContext) -> Candidates:
        """Return a query's candidates by the bundle that its context pins."""
        found: Candidates = await _asked(self.handle.retrieve, query, context)
        return found

    async def attribute_items(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[ItemAttribution]:
        """Attribute ``items``, which are among ``candidates``, to the history, by the sources that offered them."""
        attributions: list[ItemAttribution] = await _asked(
            self.handle.attribute_items, query, candidates, items, context
        )
        return attributions

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Return an item's place by each source."""
        ranks: dict[str, int] = await _asked(self.handle.source_ranks, query, code, context)
        return ranks


class RemoteRanker(Remote):
    """Ranker and slate in a deployment of their own."""

    async def answer(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> Slate:
        """Return a request's slate by the bundle that its context pins."""
        slate: Slate = await _asked(self.handle.answer, request, query, candidates, context)
        return slate

    async def observed(
        self,
        request: RecommendRequest,
        query: Query,
        candidates: Candidates,
        context: RequestContext,
        observer: Observer[Notes],
    ) -> tuple[Slate, Notes]:
        """Return a request's slate, and what an observer notes of how it came about."""
        answer: tuple[Slate, Notes] = await _asked(self.handle.observed, request, query, candidates, context, observer)
        return answer


class RemoteSearcher(Remote):
    """One shard in a deployment of its own."""

    async def best(self, wanted: Wanted, context: RequestContext) -> Found:
        """Return a viewer's best items by the bundle that the context pins."""
        found: Found = await _asked(self.handle.best, wanted, context)
        return found


async def _asked(method: Any, *args: object) -> Any:
    """Call a handle's method; a lost replica is replaced by another, once, and a call that is cancelled ends its work.

    Serve's handles type neither their methods nor what these return: that is done above.
    """
    try:
        return await _awaited(method.remote(*args))
    except (RayActorError, ActorUnavailableError):
        return await _awaited(method.remote(*args))


async def _awaited(response: Any) -> Any:
    try:
        return await response
    except asyncio.CancelledError:
        # Without this the replica would work on for nobody.
        response.cancel()
        raise


def _status(name: str, answer: Any) -> Status:
    return answer if isinstance(answer, Status) else Status(name, None, None, f"does not answer: {answer}")
