"""One shard of the encoder's items as a stage: batched, by whichever bundle a request pins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.bundle import BundleShard
from foveate.core.messages import RequestContext
from foveate.retrieval.shards import Found
from foveate_serve.bundles.slots import Slots
from foveate_serve.stages.batcher import Batched
from foveate_serve.telemetry import Telemetry, names


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: ``[D]`` what the encoder makes of a viewer, codes to leave out, and how many items."""

    vector: NDArray[np.float32]
    exclude: NDArray[np.int32]
    k: int


Call = tuple[Wanted, RequestContext]


class Searcher(Batched[BundleShard, Call, Found]):
    """Finds the best items of its shard.

    Parameters
    ----------
    name
        Of the shard.
    slots
        The shards of bundles that this replica holds.
    largest
        Most requests of one batch.
    telemetry
        Where it tells what it does.
    """

    def __init__(self, name: str, slots: Slots[BundleShard], largest: int, telemetry: Telemetry | None = None) -> None:
        self.name = name
        super().__init__(slots, largest, telemetry)

    async def best(self, wanted: Wanted, context: RequestContext) -> Found:
        """Return a viewer's best items by the bundle that the context pins."""
        return await self._batcher.ask((wanted, context))

    def _answers(self, calls: Sequence[Call]) -> list[Found]:
        asked, held = [wanted for wanted, _ in calls], self._slots.bundle(calls[0][-1].bundle_id)
        with self._telemetry.stage(names.SEARCH, [context for _, context in calls]):
            vectors_BD = np.stack([wanted.vector for wanted in asked])
            return held.shard.best(vectors_BD, [wanted.exclude for wanted in asked], [wanted.k for wanted in asked])
