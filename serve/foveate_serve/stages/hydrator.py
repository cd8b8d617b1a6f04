"""Viewers' histories as a stage of the ingress: read many at a time, beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np

from foveate.core.messages import Query, RecommendRequest, RequestContext, ViewerHistory
from foveate.recommend.model import Model
from foveate.recommend.pipeline import hydrate
from foveate.state.base import ViewerEvent, ViewerState
from foveate_serve.stages.batcher import Batcher
from foveate_serve.telemetry import Telemetry, names

Call = tuple[Model, RecommendRequest, RequestContext]

LATE_S: Final = 0.25
"""Seconds of one read after which the requests behind it are read beside it, in another thread.

A busy server reads for a tenth of a second: threads beside each other would then only wait for the interpreter.
"""
_SPARE: Final = 3
"""How many reads that late are waited for; requests then wait as well, each until its share of the deadline is over."""


class Hydrator:
    """Reads histories and turns them into queries.

    Parameters
    ----------
    state
        Where histories are read.
    largest
        Most requests of one batch.
    telemetry
        Where it tells what it does.
    """

    def __init__(self, state: ViewerState, largest: int, telemetry: Telemetry | None = None) -> None:
        self._state = state
        self._telemetry = telemetry or Telemetry.unseen()
        # Requests of one bundle are read together: a store on another machine is then asked once.
        self._batcher: Batcher[Call, tuple[Query, int]] = Batcher(
            "hydrator", self._work, largest, key=lambda call: id(call[0]), spare=_SPARE, late_s=LATE_S
        )

    async def hydrate(self, model: Model, request: RecommendRequest, context: RequestContext) -> tuple[Query, int]:
        """Return a viewer's query and the version of the history in it.

        Raises
        ------
        StateError
            The store cannot be read.
        """
        return await self._batcher.ask((model, request, context))

    async def without_history(
        self, model: Model, request: RecommendRequest, context: RequestContext
    ) -> tuple[Query, int]:
        """Return the query of the same viewer as if nothing were known; what the request forbids stays forbidden."""
        [answer] = await asyncio.to_thread(hydrate, model, _NoState(), [request], [context])
        return answer

    def _work(self, calls: Sequence[Call]) -> list[tuple[Query, int]]:
        contexts = [context for _, _, context in calls]
        with self._telemetry.stage(names.HYDRATE, contexts):
            return hydrate(calls[0][0], self._state, [request for _, request, _ in calls], contexts)


class _NoState:
    """Knows no viewer."""

    def history(self, user_id: str, version: int | None = None) -> ViewerHistory:
        """Return an empty history."""
        del version
        nothing = np.empty(0, dtype=np.int64)
        return ViewerHistory(user_id, (), (), nothing.astype(np.float32), nothing)

    def histories(self, user_ids: Sequence[str]) -> list[ViewerHistory]:
        """Return as many empty histories."""
        return [self.history(user_id) for user_id in user_ids]

    def append(self, events: Sequence[ViewerEvent]) -> int:
        """Keep nothing."""
        del events
        return 0
