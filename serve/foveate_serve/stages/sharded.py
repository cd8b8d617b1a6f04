"""The retriever of a catalogue whose items lie in shards: it encodes the viewer, has the shards search, and joins.

The encoder's source alone is in shards. The others are asked here, and whatever is a candidate in the end is scored
here by every source, the encoder too: it reads the few rows that it needs out of the bundle's file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from foveate.core.messages import Candidates, Query, RequestContext
from foveate.recommend.model import Model
from foveate.recommend.pipeline import retrieve
from foveate.recommend.surfaces.base import surface_of
from foveate.retrieval.attention import AttentionSource, Viewers, alike
from foveate.retrieval.extended import within
from foveate.retrieval.shards import GatheredSource
from foveate.state.base import utc_micros
from foveate_serve.bundles.slots import BundleSlots
from foveate_serve.stages.batcher import Batcher
from foveate_serve.stages.local import RetrieveCall, Retriever
from foveate_serve.stages.scatter import Gathered, Scatter
from foveate_serve.stages.searcher import Wanted
from foveate_serve.telemetry import Telemetry, names

SEARCH_SHARE: Final = 0.45
"""Of the time that a request has left when the retriever is asked; a shard that has not answered by then is left out.
It leaves the retriever enough of its own share to join what was found."""


class ShardsLostError(RuntimeError):
    """No shard answered, and no other source has a candidate."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A viewer as the encoder sees them: ``[D]``, and whether anything is known of them."""

    vector: NDArray[np.float32]
    known: bool


_Found = tuple[Query, _Look, Gathered, int, RequestContext]


class ShardedRetriever(Retriever):
    """Asks the candidate sources, the encoder's through shards.

    Parameters
    ----------
    slots
        The bundles of this replica, whose item vectors stay in their files.
    largest
        Most requests of one batch.
    scatter
        Asks the shards.
    telemetry
        Where it tells what it does.
    """

    def __init__(self, slots: BundleSlots, largest: int, scatter: Scatter, telemetry: Telemetry | None = None) -> None:
        thread = ThreadPoolExecutor(1, thread_name_prefix=self.name)
        super().__init__(slots, largest, telemetry, thread)
        self._scatter = scatter
        self._encoding: Batcher[RetrieveCall, _Look] = Batcher(
            "encoding", self._looks, largest, thread, key=lambda call: call[-1].bundle_id
        )
        self._joining: Batcher[_Found, Candidates] = Batcher(
            "joining", self._joined, largest, thread, key=lambda call: (call[-1].bundle_id, call[-1].surface)
        )

    async def retrieve(self, query: Query, context: RequestContext) -> Candidates:
        """Return a query's candidates by the bundle that its context pins.

        Raises
        ------
        ShardsLostError
            There is none, for no shard answered.
        """
        model, clock = self._slots.bundle(context.bundle_id).model, asyncio.get_running_loop().time
        wanted = surface_of(context.surface).offers(model.recipe).get(_split(model).name)
        if wanted is None:
            return await super().retrieve(query, context)
        # The clocks of a cluster's machines are taken to agree.
        due = clock() + SEARCH_SHARE * (context.deadline - utc_micros()) / 1e6
        look = await self._encoding.ask((query, context))
        # Items that came after the bundle are in no shard: they are searched here, where the others are joined.
        n_items = len(model.catalog) - model.catalog.appended
        if look.known:
            asked = Wanted(look.vector, query.exclude, wanted)
            gathered = await self._scatter.best(asked, n_items, context, due - clock())
        else:
            gathered = Gathered(alike(n_items, query.exclude, wanted), 1.0)
        found = await self._joining.ask((query, look, gathered, wanted, context))
        if not gathered.coverage and not len(found.items):
            raise ShardsLostError("no shard answered, and no other source offers anything")
        return found

    def _looks(self, calls: Sequence[RetrieveCall]) -> list[_Look]:
        """Return what the encoder of one bundle makes of each viewer."""
        queries, contexts = [query for query, _ in calls], [context for _, context in calls]
        with self._telemetry.stage(names.ENCODE, contexts):
            model = self._slots.bundle(contexts[0].bundle_id).model
            viewers = _split(model).encode([within(query, len(model.catalog)) for query in queries])
        return [_Look(*row) for row in zip(viewers.user_BD.numpy(), viewers.known_B.tolist(), strict=True)]

    def _joined(self, calls: Sequence[_Found]) -> list[Candidates]:
        """Return the candidates of requests of one bundle and surface, and what part of the catalogue was searched.

        Every source is asked, the encoder's with the items that the shards have found.
        """
        asked, looks, gathered, wanted, contexts = zip(*calls, strict=True)
        with self._telemetry.stage(names.RETRIEVE, contexts):
            model = self._slots.bundle(contexts[0].bundle_id).model
            queries = [within(query, len(model.catalog)) for query in asked]
            source = _split(model)
            vectors_BD = torch.from_numpy(np.stack([look.vector for look in looks]))
            viewers = Viewers(vectors_BD, np.array([look.known for look in looks]))
            tops = source.with_appended(viewers, [one.codes for one in gathered], queries, wanted)
            gathered_source = GatheredSource(source, viewers, tops)
            whole = replace(model, sources=tuple(gathered_source if one is source else one for one in model.sources))
            candidates = retrieve(whole, queries, contexts)
        found = [replace(one, coverage=own.coverage) for one, own in zip(candidates, gathered, strict=True)]
        self._telemetry.candidates(found)
        return found


def _split(model: Model) -> AttentionSource:
    [source] = [source for source in model.sources if isinstance(source, AttentionSource)]
    return source
