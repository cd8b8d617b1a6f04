"""A second bundle answers the same requests, for nobody: what it would have said is compared with what was said.

The ingress hands over a share of its requests after their reply, a few at a time, and waits for nothing. The shadow
works in a process of its own, at a low priority, and nothing that befalls it is seen by a viewer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from ray.serve.handle import DeploymentHandle

from foveate.core.messages import Slate
from foveate.recommend.pipeline import LocalStages, recommend
from foveate.state.base import PinnedState, ServedRequest
from foveate.state.connect import open_viewers
from foveate_serve.bundles.loading import load_all
from foveate_serve.bundles.slots import BundleNotHeldError, BundleSlots, Status
from foveate_serve.config import ShadowConfig
from foveate_serve.names import BUNDLE_KEY, SHADOW
from foveate_serve.replica import start_replica
from foveate_serve.telemetry import Telemetry, about, names

logger = logging.getLogger("ray.serve")

_AFTER_S: Final = 0.02
"""Seconds until a request is handed over: its reply goes first."""
_TIMEOUT_S: Final = 30.0
_REPORT_TIMEOUT_S: Final = 5.0
_KEPT: Final = 1000
"""How many comparisons a report is about, the newest."""
_NICE: Final = 10
"""How far below the others the system puts this process."""


@dataclass(frozen=True)
class Difference:
    """One request, answered twice.

    Parameters
    ----------
    request_id
        Of the served slate.
    overlap
        Share of the longer slate's items that both have.
    score
        Mean absolute difference of the scores of items in both, None where there are none.
    took_s, shadow_took_s
        Seconds of the served slate and of the shadow's.
    served, shadow
        Ids of both slates, in order.
    """

    request_id: str
    overlap: float
    score: float | None
    took_s: float
    shadow_took_s: float
    served: tuple[str, ...]
    shadow: tuple[str, ...]


@dataclass(frozen=True)
class Compared:
    """What one shadow has compared, or why it cannot."""

    status: Status
    differences: tuple[Difference, ...] = ()
    failed: int = 0


class ShadowReplica:
    """Answers again, by a bundle of its own.

    Parameters
    ----------
    state
        Where viewers' events are kept, a file or an address; histories are read as they were when the slate was served.
    """

    def __init__(self, state: str) -> None:
        os.nice(_NICE)
        self._telemetry = start_replica(SHADOW)
        self._slots = BundleSlots(SHADOW, load_all, self._telemetry.swapped)
        self._state = open_viewers(state, create=False, lazy=True)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=SHADOW)
        self._differences: deque[Difference] = deque(maxlen=_KEPT)
        self._failed = 0

    async def reconfigure(self, user_config: Mapping[str, str]) -> None:
        """Take the bundle that ``user_config`` names; what was compared before is about another one."""
        await self._slots.load(user_config[BUNDLE_KEY])
        self._differences.clear()
        self._failed = 0

    async def compare(self, served: ServedRequest, took_s: float) -> None:
        """Answer a request that was served, and note how far the two slates lie apart."""
        try:
            difference = await asyncio.get_running_loop().run_in_executor(self._thread, self._compared, served, took_s)
        except Exception:
            self._failed += 1
            self._telemetry.meter.add(names.SHADOWED, outcome="failed")
            raise
        self._differences.append(difference)
        self._telemetry.meter.add(names.SHADOWED, outcome="compared")
        self._telemetry.meter.see(names.SHADOW_OVERLAP, difference.overlap)
        self._telemetry.meter.see(names.SHADOW_SECONDS, difference.shadow_took_s)
        if difference.score is not None:
            self._telemetry.meter.see(names.SHADOW_SCORE, difference.score)

    def report(self) -> Compared:
        """Return what was compared."""
        return Compared(self._slots.status(), tuple(self._differences), self._failed)

    def _compared(self, served: ServedRequest, took_s: float) -> Difference:
        if not self._slots.held:
            raise BundleNotHeldError(f"the shadow has no bundle: {self._slots.status().problem}")
        bundle = self._slots.held[0]
        context = replace(served.context, bundle_id=bundle.bundle_id, trace="")
        stages = LocalStages(bundle.model, PinnedState(self._state, served.slate.state_version))
        began = time.perf_counter()
        slate = asyncio.run(recommend(served.request, context, stages))
        return difference_of(served.slate, slate, took_s, time.perf_counter() - began)


class Shadowing:
    """Hands served requests to the shadow.

    Parameters
    ----------
    handle
        Of the shadow's deployment.
    config
        Which share, and how many at a time.
    telemetry
        Where it tells what it passes over.
    """

    def __init__(self, handle: DeploymentHandle[Any], config: ShadowConfig, telemetry: Telemetry) -> None:
        self._handle = handle
        self._config = config
        self._telemetry = telemetry
        self._under_way: set[asyncio.Task[None]] = set()

    def offer(self, served: ServedRequest, took_s: float) -> None:
        """Hand over a request that was served in ``took_s`` seconds, or not; returns at once and never fails."""
        if served.slate.degraded or not in_share(served.context.request_id, self._config.share):
            return
        if len(self._under_way) >= self._config.ongoing:
            self._telemetry.meter.add(names.SHADOWED, outcome="passed_over")
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


def difference_of(served: Slate, shadow: Slate, took_s: float, shadow_took_s: float) -> Difference:
    """Compare two slates for the same request."""
    one, other = ({item.item_id: item.score for item in slate.items} for slate in (served, shadow))
    both = one.keys() & other.keys()
    longer = max(len(one), len(other))
    apart = [abs(one[item] - other[item]) for item in both]
    finite = [distance for distance in apart if np.isfinite(distance)]
    return Difference(
        request_id=served.request_id,
        overlap=len(both) / longer if longer else 1.0,
        score=float(np.mean(finite)) if finite else None,
        took_s=took_s,
        shadow_took_s=shadow_took_s,
        served=tuple(one),
        shadow=tuple(other),
    )


def summary(compared: Sequence[Compared]) -> dict[str, object]:
    """Put what several shadows have compared into figures for people and programs; times are in milliseconds."""
    found = [difference for one in compared for difference in one.differences]
    scores = [one.score for one in found if one.score is not None]
    worst = sorted(found, key=lambda one: one.overlap)[:5]
    statuses = [one.status for one in compared]
    return {
        "bundle_id": next((status.bundle_id for status in statuses if status.bundle_id), None),
        "problem": next((status.problem for status in statuses if status.problem), None),
        "compared": len(found),
        "failed": sum(one.failed for one in compared),
        "same": sum(one.served == one.shadow for one in found),
        "overlap": _mean([one.overlap for one in found]),
        "score_difference": _mean(scores),
        "took_ms": _mean([1e3 * one.took_s for one in found]),
        "shadow_took_ms": _mean([1e3 * one.shadow_took_s for one in found]),
        "worst": [asdict(one) for one in worst],
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
