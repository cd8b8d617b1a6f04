"""How the stages of one replica gather their batches: by themselves, without a network."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence

from foveate.bundle import Bundle
from foveate.core.messages import RecommendRequest
from foveate.recommend.pipeline import make_context, recommend
from foveate.state.base import utc_micros
from foveate.state.sqlite.store import SqliteState
from foveate_serve.bundles.slots import BundleSlots
from foveate_serve.names import INGRESS, RANKER, RETRIEVER
from foveate_serve.stages.batcher import Batcher
from foveate_serve.stages.guarded import Guarded
from foveate_serve.stages.local import Hydrator, Ranker, Retriever
from foveate_serve.stages.remote import RankerStage, RetrieverStage
from foveate_serve.stages.served import ServedStages
from foveate_serve.telemetry.names import BATCH_SIZE, Metric
from foveate_serve.telemetry.spans import NoSpans
from foveate_serve.telemetry.telemetry import NoMeter, Telemetry
from lab.serving_world import SLATE, World

LARGEST = 32


class Sizes(NoMeter):
    """Keeps the sizes of the batches."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def see(self, metric: Metric, value: float, **tags: str) -> None:
        """Keep a batch's size."""
        if metric is BATCH_SIZE:
            self.seen.append(value)


def mean_batch(world: World, clients: int, requests: int = 600) -> float:
    """Return the mean size of all stages' batches while so many clients ask one replica."""
    sizes, _ = asyncio.run(_asked(world, clients, requests))
    return statistics.fmean(sizes)


def compute_ms(world: World, requests: int = 200) -> float:
    """Return the median milliseconds of a request that comes alone, all stages in this process."""
    _, took = asyncio.run(_asked(world, 1, requests))
    return statistics.median(took)


async def _asked(world: World, clients: int, requests: int) -> tuple[list[float], list[float]]:
    sizes = Sizes()
    telemetry = Telemetry(sizes, NoSpans())
    bundle = Bundle.load(world.bundle)
    slots = BundleSlots(INGRESS, lambda _: bundle)
    await slots.load(world.bundle)
    hydrator = Guarded("hydrator", Hydrator(SqliteState(world.state), LARGEST, telemetry))
    retriever: Guarded[RetrieverStage] = Guarded(RETRIEVER, Retriever(slots, LARGEST, telemetry))
    ranker: Guarded[RankerStage] = Guarded(RANKER, Ranker(slots, LARGEST, telemetry))

    took: list[float] = []

    async def client(users: Sequence[str]) -> None:
        for user in users:
            began = time.perf_counter()
            request = RecommendRequest(user, k=SLATE)
            context = make_context(request, bundle.bundle_id, clock=utc_micros, budget=30_000_000)
            await recommend(request, context, ServedStages(bundle.model, hydrator, retriever, ranker, 30.0))
            took.append(1e3 * (time.perf_counter() - began))

    users = world.users[:requests]
    await asyncio.gather(*(client(users[number::clients]) for number in range(clients)))
    return sizes.seen, took


def idle_wait_ms(calls: int = 500) -> float:
    """Return the median milliseconds that an idle batcher adds to work that takes no time."""

    async def ask() -> list[float]:
        batcher: Batcher[int, int] = Batcher("idle", list, LARGEST)
        took = []
        for call in range(calls):
            began = time.perf_counter()
            await batcher.ask(call)
            took.append(1e3 * (time.perf_counter() - began))
        return took

    return statistics.median(asyncio.run(ask()))
