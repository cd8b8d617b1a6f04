"""Whom an ingress asks: a stage in the same replica, or in others. Both are asked alike."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

from ray.exceptions import ActorUnavailableError, RayActorError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from foveate_serve.bundles.slots import Status

_STATUS_TIMEOUT_S = 2.0
_AGAIN_S = 0.05


class Peer(Protocol):
    """A stage: methods to ask, and what its replicas hold."""

    name: str

    async def ask(self, method: str, *args: Any) -> Any:
        """Call a method; cancelling the call ends its work."""
        ...

    async def status(self) -> list[Status]:
        """Return what each replica holds; empty where that is the asker's own."""
        ...


class Here:
    """A stage in this replica.

    Parameters
    ----------
    name
        Of the stage.
    stage
        Has the methods.
    """

    def __init__(self, name: str, stage: object) -> None:
        self.name = name
        self._stage = stage

    async def ask(self, method: str, *args: Any) -> Any:
        """Call a method."""
        return await getattr(self._stage, method)(*args)

    async def status(self) -> list[Status]:
        """Return nothing: the bundles are the asker's own."""
        return []


class Elsewhere:
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

    async def ask(self, method: str, *args: Any) -> Any:
        """Call a method of a replica; a lost one is replaced by another, once."""
        remote = getattr(self._handle, method)
        try:
            return await _awaited(remote.remote(*args))
        except (RayActorError, ActorUnavailableError):
            return await _awaited(remote.remote(*args))

    async def status(self) -> list[Status]:
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


async def _awaited(response: Any) -> Any:
    try:
        return await response
    except asyncio.CancelledError:
        # Without this the replica would work on for nobody.
        response.cancel()
        raise


def _status(name: str, answer: Any) -> Status:
    return answer if isinstance(answer, Status) else Status(name, None, None, f"does not answer: {answer}")
