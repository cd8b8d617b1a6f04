"""The stages that an ingress asks, as it sees them: in the same replica, or in deployments of their own."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from ray.exceptions import ActorUnavailableError, RayActorError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from foveate.core.messages import Candidates, Query, RecommendRequest, RequestContext, Slate
from foveate.recommend.explain import WhyNot
from foveate.recommend.explain.history import Story
from foveate.recommend.explain.ranking import Weighed
from foveate.retrieval.shards import Found
from foveate_serve.bundles.slots import Status
from foveate_serve.stages.searcher import Wanted

_STATUS_TIMEOUT_S = 2.0
_AGAIN_S = 0.05


class Stage(Protocol):
    """A stage that may be local or remote. Cancelling a call of one of its methods ends its work."""

    name: str

    async def statuses(self) -> list[Status]:
        """Return what each of its replicas holds; empty where that is the asker's own."""
        ...


class RetrieverStage(Stage, Protocol):
    """The candidate sources."""

    async def retrieve(self, query: Query, context: RequestContext) -> Candidates:
        """Return a query's candidates by the bundle that its context pins."""
        ...

    async def stories(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[Story]:
        """Say what carried ``items``, which are among ``candidates``."""
        ...

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Return an item's place by each source."""
        ...


class RankerStage(Stage, Protocol):
    """Ranker and slate. Candidates with features never travel: it ranks and selects in one call."""

    async def answer(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> Slate:
        """Return a request's slate by the bundle that its context pins."""
        ...

    async def weigh(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> list[Weighed]:
        """Say what features, policy and rules made of each item of the slate."""
        ...

    async def judge(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext, item_id: str
    ) -> WhyNot:
        """Say what ranker, policy and rules made of a candidate."""
        ...


class ShardStage(Stage, Protocol):
    """One shard of the encoder's items."""

    async def best(self, wanted: Wanted, context: RequestContext) -> Found:
        """Return a viewer's best items by the bundle that the context pins."""
        ...


class Remote:
    """A stage in a deployment of its own.

    Parameters
    ----------
    name
        Of the deployment.
    handle
        Its handle.
    """

    def __init__(self, name: str, handle: DeploymentHandle[Any]) -> None:
        self.name = name
        self._handle = handle

    async def statuses(self) -> list[Status]:
        """Return what each replica holds; one that does not answer counts as a problem."""
        give_up = time.monotonic() + _STATUS_TIMEOUT_S
        while True:
            try:
                asked = self._handle.broadcast("status")
                answers = await asked.results_async(timeout_s=_STATUS_TIMEOUT_S, return_exceptions=True)
            except DeploymentUnavailableError as error:
                # Ray leaves a replica out while it tells it of a bundle: without another, one waits.
                if time.monotonic() < give_up:
                    await asyncio.sleep(_AGAIN_S)
                    continue
                answers = [error]
            except Exception as error:
                answers = [error]
            break
        return [_status(self.name, answer) for answer in answers or ["it has no replica"]]

    async def _call(self, method: str, *args: Any) -> Any:
        """Call a method of a replica; a lost one is replaced by another, once."""
        remote = getattr(self._handle, method)
        try:
            return await _awaited(remote.remote(*args))
        except (RayActorError, ActorUnavailableError):
            return await _awaited(remote.remote(*args))


class RemoteRetriever(Remote):
    """The candidate sources in a deployment of their own; methods as :class:`RetrieverStage` has them."""

    async def retrieve(self, query: Query, context: RequestContext) -> Candidates:
        """Return a query's candidates."""
        found: Candidates = await self._call("retrieve", query, context)
        return found

    async def stories(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[Story]:
        """Say what carried ``items``."""
        found: list[Story] = await self._call("stories", query, candidates, items, context)
        return found

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Return an item's place by each source."""
        found: dict[str, int] = await self._call("source_ranks", query, code, context)
        return found


class RemoteRanker(Remote):
    """Ranker and slate in a deployment of their own; methods as :class:`RankerStage` has them."""

    async def answer(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> Slate:
        """Return a request's slate."""
        slate: Slate = await self._call("answer", request, query, candidates, context)
        return slate

    async def weigh(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext
    ) -> list[Weighed]:
        """Say what features, policy and rules made of each item of the slate."""
        found: list[Weighed] = await self._call("weigh", request, query, candidates, context)
        return found

    async def judge(
        self, request: RecommendRequest, query: Query, candidates: Candidates, context: RequestContext, item_id: str
    ) -> WhyNot:
        """Say what ranker, policy and rules made of a candidate."""
        found: WhyNot = await self._call("judge", request, query, candidates, context, item_id)
        return found


class RemoteShard(Remote):
    """A shard in a deployment of its own."""

    async def best(self, wanted: Wanted, context: RequestContext) -> Found:
        """Return a viewer's best items."""
        found: Found = await self._call("best", wanted, context)
        return found


async def _awaited(response: Any) -> Any:
    try:
        return await response
    except asyncio.CancelledError:
        # Without this the replica would work on for nobody.
        response.cancel()
        raise


def _status(name: str, answer: Any) -> Status:
    return answer if isinstance(answer, Status) else Status(name, None, None, f"does not answer: {answer}")
