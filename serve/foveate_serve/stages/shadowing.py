"""The ingress's side of a shadow: a share of what was served is handed over, and nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
import zlib
from typing import Any, Final

from ray.serve.handle import DeploymentHandle

from foveate.state.base import ServedRequest
from foveate_serve.config import ShadowConfig
from foveate_serve.stages.shadow import Compared, summary
from foveate_serve.telemetry import Sight, about, names

logger = logging.getLogger("ray.serve")

_AFTER_S: Final = 0.02
"""Seconds until a request is handed over: its reply goes first."""
_TIMEOUT_S: Final = 30.0
_REPORT_TIMEOUT_S: Final = 5.0


class Shadowing:
    """Hands served requests to the shadow.

    Parameters
    ----------
    handle
        Of the shadow's deployment.
    config
        Which share, and how many at a time.
    sight
        Where it tells what it passes over.
    """

    def __init__(self, handle: DeploymentHandle[Any], config: ShadowConfig, sight: Sight) -> None:
        self._handle = handle
        self._config = config
        self._sight = sight
        self._under_way: set[asyncio.Task[None]] = set()

    def offer(self, served: ServedRequest, took_s: float) -> None:
        """Hand over a request that was served in ``took_s`` seconds, or not; returns at once and never fails."""
        if served.slate.degraded or not in_share(served.context.request_id, self._config.share):
            return
        if len(self._under_way) >= self._config.ongoing:
            self._sight.meter.add(names.SHADOWED, outcome="passed_over")
            return
        task = asyncio.create_task(self._hand_over(served, took_s))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def report(self) -> dict[str, object]:
        """Return how the shadow's slates differ from those that were served."""
        try:
            asked = self._handle.broadcast("report")
            answers = await asked.results_async(timeout_s=_REPORT_TIMEOUT_S, return_exceptions=True)
        except Exception as error:
            answers = [error]
        return summary([one for one in answers if isinstance(one, Compared)])

    async def _hand_over(self, served: ServedRequest, took_s: float) -> None:
        await asyncio.sleep(_AFTER_S)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._handle.compare.remote(served, took_s)
        except Exception as error:
            # Viewers have had their answer: what befalls the shadow is a line in the log, and a count.
            logger.warning("shadow: %s", str(error) or type(error).__name__, extra=about(served.context))


def in_share(request_id: str, share: float) -> bool:
    """Whether a request is among the share of all that the shadow answers; the same request always is or never is."""
    return zlib.crc32(request_id.encode()) < share * 2**32
