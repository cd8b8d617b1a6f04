"""Every shard is asked at once; those that answer in time are enough, and what part of all they are is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import RequestContext
from foveate.retrieval.shards import Found, merged, runs, within
from foveate_serve.stages.guarded import Guarded, LostError
from foveate_serve.stages.remote import SearcherStage
from foveate_serve.stages.searcher import Wanted
from foveate_serve.telemetry import Telemetry, about, names

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Gathered:
    """What shards found together.

    Parameters
    ----------
    codes
        ``[K]`` int32 item codes, best first and ties by code.
    coverage
        Share of the catalogue's items that lie in the shards that answered.
    """

    codes: NDArray[np.int32]
    coverage: float


class Scatter:
    """The shards of one catalogue, in the order of their items.

    Parameters
    ----------
    shards
        Whom to ask.
    telemetry
        Where it tells which shard did not answer.
    """

    def __init__(self, shards: Sequence[Guarded[SearcherStage]], telemetry: Telemetry | None = None) -> None:
        self._shards = shards
        self._telemetry = telemetry or Telemetry.unseen()

    async def best(self, wanted: Wanted, n_items: int, context: RequestContext, seconds: float) -> Gathered:
        """Return the best of ``n_items`` items; a shard that is lost, or late by ``seconds``, is left out.

        Raises
        ------
        BundleNotHeldError
            A shard does not hold the bundle that the context pins.
        """
        own = runs(n_items, len(self._shards))
        asked = [self._found(*one, wanted, context, seconds) for one in zip(self._shards, own, strict=True)]
        found = await asyncio.gather(*asked)
        missed = sum(len(run) for run, one in zip(own, found, strict=True) if one is None)
        best = merged([one for one in found if one is not None], wanted.k)
        return Gathered(best.codes, 1.0 - missed / max(1, n_items))

    async def _found(
        self, shard: Guarded[SearcherStage], run: range, wanted: Wanted, context: RequestContext, seconds: float
    ) -> Found | None:
        # A shard needs to know of its own items alone.
        wanted = replace(wanted, exclude=within(wanted.exclude, run))
        try:
            async with shard.within(seconds) as stage:
                return await stage.best(wanted, context)
        except LostError as lost:
            self._telemetry.meter.add(names.SHARD_MISSED, shard=shard.name, reason=lost.reason)
            logger.warning("%s: %s", lost, str(lost.cause) or type(lost.cause).__name__, extra=about(context))
            return None
