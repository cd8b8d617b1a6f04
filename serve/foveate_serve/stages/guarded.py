"""Asking a stage that may be lost or slow: within a time, and not at all while it has just failed others."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException

from foveate.core.errors import FoveateError
from foveate_serve.stages.breaker import Breaker
from foveate_serve.stages.peers import Peer

_REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (TimeoutError, "slow"),
    (BackPressureError, "overloaded"),
    (RayServeException, "lost"),
    (RayError, "lost"),
)
"""What a failure is called; the first that fits, any other is 'failed'."""

PATIENCE_S: Final = 0.25
"""Seconds that a stage of a server has before it counts as late, where its own deadline gives it as many."""


class LostError(Exception):
    """A stage did not answer; ``reason`` says why, and ``cause`` in whose words."""

    def __init__(self, name: str, reason: str, cause: Exception) -> None:
        super().__init__(f"{name}_{reason}")
        self.reason = reason
        self.cause = cause


class Guarded:
    """A peer and its breaker, which all requests of a replica share.

    Parameters
    ----------
    peer
        Who is asked.
    patience_s
        Seconds that a peer must have had before its being late counts against it: a client in a hurry, or a stage that
        left the next one little time, must not cost others their answers.
    """

    def __init__(self, peer: Peer, patience_s: float = 0.0) -> None:
        self.peer = peer
        self.breaker = Breaker()
        self._patience_s = patience_s

    async def ask(self, seconds: float, method: str, *args: Any) -> Any:
        """Call a method of the peer.

        Raises
        ------
        LostError
            The peer is lost, slow or failed, or has just failed others.
        FoveateError
            It answered that the request cannot be met.
        """
        name = self.peer.name
        if not self.breaker.may_ask():
            raise LostError(name, "lost", TimeoutError(f"the {name} has just failed other requests"))
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                answer = await self.peer.ask(method, *args)
        except FoveateError:
            raise
        except Exception as error:
            if seconds >= self._patience_s or not isinstance(error, TimeoutError):
                self.breaker.told(well=False)
            raise LostError(name, _reason(error), error) from error
        self.breaker.told(well=True)
        return answer


def _reason(error: Exception) -> str:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "failed")
