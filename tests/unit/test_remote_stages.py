"""The stages over handles: what a deadline and a lost replica do. The replicas are stood in for by plain tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, cast

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.handle import DeploymentHandle

from foveate.bundle import Bundle
from foveate.messages import Candidates, Filters, RequestContext
from foveate.state.base import ViewerState
from foveate_serve.stages import RemoteStages

CONTEXT = RequestContext("r", 0, "b", 50_000, "home", 0, Filters())


class Response:
    """What a handle's call gives: awaited for the answer, cancelled when nobody waits."""

    def __init__(self, work: Awaitable[list[Candidates]]) -> None:
        self.task = asyncio.ensure_future(work)

    def __await__(self) -> Generator[Any, None, list[Candidates]]:
        return self.task.__await__()

    def cancel(self) -> None:
        self.task.cancel()


class Replica:
    """A handle whose n-th call does the n-th piece of work."""

    def __init__(self, *work: Callable[[], Awaitable[list[Candidates]]]) -> None:
        self.work = list(work)
        self.responses: list[Response] = []
        self.retrieve = self

    def remote(self, *args: Any) -> Response:
        self.responses.append(Response(self.work.pop(0)()))
        return self.responses[-1]


async def slow() -> list[Candidates]:
    await asyncio.sleep(60)
    return []


async def quick() -> list[Candidates]:
    return []


async def lost() -> list[Candidates]:
    raise ActorDiedError


def stages(bundle: Bundle, replica: Replica) -> RemoteStages:
    handle = cast("DeploymentHandle[Any]", replica)
    return RemoteStages(bundle.model, cast("ViewerState", None), handle, handle, clock=lambda: 0)


def test_a_deadline_ends_the_call_and_the_work(small_bundle: Bundle) -> None:
    async def ask() -> Replica:
        replica = Replica(slow)
        with pytest.raises(TimeoutError):
            await stages(small_bundle, replica).retrieve([], [CONTEXT])
        await asyncio.sleep(0)
        return replica

    [response] = asyncio.run(ask()).responses
    assert response.task.cancelled()


def test_a_lost_replica_is_asked_again_once(small_bundle: Bundle) -> None:
    async def ask(*work: Callable[[], Awaitable[list[Candidates]]]) -> int:
        replica = Replica(*work)
        await stages(small_bundle, replica).retrieve([], [CONTEXT])
        return len(replica.responses)

    assert asyncio.run(ask(quick)) == 1
    assert asyncio.run(ask(lost, quick)) == 2
    with pytest.raises(ActorDiedError):
        asyncio.run(ask(lost, lost, quick))
