"""Stages by process: one process for all of them, or ingress, retriever, ranker and shards apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from foveate.core.errors import ConfigError
from foveate_capacity.costs import HANDOVER, RECORD, Costs
from foveate_capacity.prices import GIB, Prices
from foveate_capacity.queueing import Load
from foveate_capacity.search_methods import (
    BUNDLES,
    FLOAT,
    GPU_BATCH,
    Part,
    gpu_batch_s,
    gpu_shards,
    lookup_s,
    scores_all,
    shard_bytes,
)
from foveate_serve.names import INGRESS, RANKER, RETRIEVER

FUSED = "fused"
SHARD = "shard"
_SHARD_GIB = 32.0
"""The items are cut so that a shard takes about as much, with two bundles."""


@dataclass(frozen=True)
class Way:
    """How the nearest videos are found: all of them scored in each retriever, or in shards.

    Parameters
    ----------
    exact
        Whether retrievers score every video themselves.
    shards
        Parts that the vectors are cut into.
    search_s
        Seconds that a shard takes for a batch, and for each request in it.
    gpus, gpu_hourly
        GPUs in all, and the price of one.
    """

    exact: bool
    shards: int = 0
    search_s: tuple[float, float] | None = None
    gpus: int = 0
    gpu_hourly: float = 0.0

    @classmethod
    def of(cls, load: Load, costs: Costs, prices: Prices) -> Way:
        """Choose as Foveate does by default, or the GPU that is asked for.

        Raises
        ------
        ConfigError
            There are no vectors for a GPU, or the kind is unknown.
        """
        width = costs.memory.width
        if load.gpu:
            gpu = prices.gpu(load.gpu)
            if not width:
                raise ConfigError("no source of the measured bundle has item vectors: a GPU has nothing to score")
            shards = gpu_shards(gpu, load.items, width)
            batch_s = gpu_batch_s(gpu, load.items / shards, width)
            groups = math.ceil(load.qps * batch_s / GPU_BATCH / load.utilisation) + 1
            return cls(False, shards, (batch_s, 0.0), shards * groups, gpu.hourly)
        if scores_all(costs, load.items) or costs.lookup is None:
            return cls(True)
        shards = math.ceil(shard_bytes(load.items, width) / (_SHARD_GIB * GIB))
        return cls(False, shards, (0.0, lookup_s(costs.lookup, math.ceil(load.items / shards), width)))

    @property
    def alone_s(self) -> float:
        """Seconds that a search takes for a request that comes alone."""
        return sum(self.search_s or (0.0,))


@dataclass(frozen=True)
class WorkerGroup:
    """The processes of one deployment: what each request takes of them, and what they hold.

    Parameters
    ----------
    full_s
        Seconds of a core for a request, in full batches.
    bytes_per_item
        Of memory, for each video and bundle.
    times
        How many of them work on a request: the number of shards, for those.
    """

    name: str
    full_s: float
    bytes_per_item: float
    times: int = 1

    def count(self, load: Load) -> int:
        """Return how many keep to the target."""
        return self.times * math.ceil(load.qps * self.full_s / load.utilisation)

    def memory(self, costs: Costs, items: int) -> float:
        """Return the bytes of one, with both bundles that it holds."""
        return costs.memory.per_replica + BUNDLES * items / self.times * self.bytes_per_item


def worker_groups(costs: Costs, own: Sequence[Part], load: Load, way: Way) -> list[WorkerGroup]:
    """Return who does the work; shards are served by the topology ``split`` alone."""
    took = {part.name: part.full_s for part in own}
    memory, server = costs.memory, costs.server
    if not way.shards:
        return [WorkerGroup(FUSED, sum(took.values()), memory.per_item["all"])]
    hand, out, back = took[HANDOVER] / 4, server.hop_caller_s, server.hop_callee_s
    retrieving = sum(seconds for name, seconds in took.items() if name.startswith("source ") or name == "union")
    vectors = memory.width * FLOAT
    front = took["ingress"] + took["proxy"] + took["hydrate"] + took[RECORD] + 2 * (hand + out)
    groups = [
        WorkerGroup(INGRESS, front, memory.per_item[INGRESS]),
        WorkerGroup(
            RETRIEVER, retrieving + hand + back + way.shards * out, max(0.0, memory.per_item[RETRIEVER] - vectors)
        ),
        WorkerGroup(RANKER, took["rank"] + took["select"] + hand + back, memory.per_item[RANKER]),
    ]
    # Before a GPU there is a process too, which does no more than pass on.
    search_s = 0.0 if load.gpu else way.alone_s
    held = 0.0 if load.gpu else shard_bytes(1, memory.width) / BUNDLES
    return [*groups, WorkerGroup(SHARD, hand + back + search_s, held, way.shards)]
