"""The graph that Serve builds: ingress, retriever and ranker, each with replicas of its own, or all in one replica.

Where items are shared out, each shard is a deployment too.
The bundle comes by ``user_config``, so that a new one is applied to running replicas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from foveate.bundle import Bundle
from foveate.core.config import from_dict
from foveate.state.connect import open_items
from foveate.storage.folder import Place
from foveate.storage.transfer import absolute
from foveate_serve.bundles.catalogue import CatalogFeed, slots_of
from foveate_serve.bundles.loading import load_mapped_sources, load_ranker, load_shard, load_sources
from foveate_serve.bundles.slots import BundleSlots, Slots, Status
from foveate_serve.config import DeploymentConfig, ServeConfig
from foveate_serve.ingress import Ingress
from foveate_serve.names import BUNDLE_KEY, INGRESS, RANKER, RETRIEVER, SHADOW, shard_name
from foveate_serve.operations.scaling import autoscaling_settings
from foveate_serve.replica import load_bundle, start_replica
from foveate_serve.stages.guarded import PATIENCE_S, Guarded
from foveate_serve.stages.local import Ranker, Retriever
from foveate_serve.stages.remote import RemoteSearcher
from foveate_serve.stages.scatter import Scatter
from foveate_serve.stages.searcher import Searcher
from foveate_serve.stages.shadow import ShadowReplica
from foveate_serve.stages.sharded import ShardedRetriever
from foveate_serve.telemetry import Telemetry


class _Holding:
    """A replica that takes bundles as Serve tells it."""

    _slots: Slots[Any]
    _feed: CatalogFeed | None = None

    async def reconfigure(self, user_config: Mapping[str, str]) -> None:
        """Take the bundle that ``user_config`` names."""
        if self._feed is not None:
            self._feed.follow(self._slots)
        await load_bundle(self._slots, user_config)

    def status(self) -> Status:
        """Return what this replica holds."""
        return self._slots.status()


def _slots(
    part: str, load: Callable[[Path], Bundle], telemetry: Telemetry, state: str
) -> tuple[BundleSlots, CatalogFeed]:
    return slots_of(part, load, telemetry.swapped, open_items(state, create=False, lazy=True))


class RetrieverReplica(_Holding, Retriever):
    """A retriever in a replica of its own."""

    def __init__(self, largest: int, state: str) -> None:
        telemetry = start_replica(RETRIEVER)
        slots, self._feed = _slots(RETRIEVER, load_sources, telemetry, state)
        super().__init__(slots, largest, telemetry)


class ShardedRetrieverReplica(_Holding, ShardedRetriever):
    """A retriever whose items lie in shards, in a replica of its own."""

    def __init__(self, largest: int, state: str, shards: Sequence[DeploymentHandle[Any]]) -> None:
        telemetry = start_replica(RETRIEVER)
        named = [(shard_name(number), handle) for number, handle in enumerate(shards)]
        scatter = Scatter(
            [Guarded(name, RemoteSearcher(name, handle), PATIENCE_S) for name, handle in named], telemetry
        )
        slots, self._feed = _slots(RETRIEVER, load_mapped_sources, telemetry, state)
        super().__init__(slots, largest, scatter, telemetry)


class ShardReplica(_Holding, Searcher):
    """One shard of ``count`` in a replica of its own."""

    def __init__(self, number: int, count: int, largest: int) -> None:
        name = shard_name(number)
        telemetry = start_replica(name)
        slots = Slots(name, lambda path: load_shard(path, number, count), telemetry.swapped)
        super().__init__(name, slots, largest, telemetry)


class RankerReplica(_Holding, Ranker):
    """A ranker in a replica of its own; ``mapped`` as :meth:`~foveate.bundle.Bundle.load` has it."""

    def __init__(self, largest: int, state: str, mapped: bool = False) -> None:
        telemetry = start_replica(RANKER)
        slots, self._feed = _slots(RANKER, partial(load_ranker, mapped=mapped), telemetry, state)
        super().__init__(slots, largest, telemetry)


def build(args: dict[str, Any]) -> serve.Application:
    """Build the graph: what Serve's config names as ``import_path``.

    Parameters
    ----------
    args
        ``config``, a :class:`~foveate_serve.config.ServeConfig` as plain values, and ``state``, a file or an address.
    """
    config = from_dict(ServeConfig, args["config"])
    ingress = serve.deployment(name=INGRESS)(serve.ingress()(Ingress))
    others: dict[str, Any] = {}
    if config.topology == "split":
        shards = _shards(config)
        common = (config.largest_batch, args["state"])
        others[RETRIEVER] = _retriever(common, shards)
        others[RANKER] = serve.deployment(name=RANKER)(RankerReplica).bind(*common, bool(shards))
        others["shards"] = shards
    if config.shadow.bundle:
        others[SHADOW] = serve.deployment(name=SHADOW)(ShadowReplica).bind(args["state"])
    return ingress.bind(args["config"], args["state"], **others)


def _retriever(common: tuple[int, str], shards: Sequence[serve.Application]) -> serve.Application:
    if not shards:
        return serve.deployment(name=RETRIEVER)(RetrieverReplica).bind(*common)
    return serve.deployment(name=RETRIEVER)(ShardedRetrieverReplica).bind(*common, shards)


def _shards(config: ServeConfig) -> list[serve.Application]:
    count = config.shards.count
    return [
        serve.deployment(name=shard_name(number))(ShardReplica).bind(number, count, config.largest_batch)
        for number in range(count)
    ]


def deployment_settings(config: ServeConfig, bundle: Place) -> list[dict[str, Any]]:
    """Return the deployments' part of Serve's config; a change of the bundle or of replicas is applied in place."""
    shadow = absolute(config.shadow.bundle)
    return [_settings(name, size, shadow if name == SHADOW else bundle) for name, size in config.deployments.items()]


def _settings(name: str, size: DeploymentConfig, bundle: Place) -> dict[str, Any]:
    auto = size.autoscaling
    copies = {"autoscaling_config": autoscaling_settings(auto)} if auto else {"num_replicas": size.replicas}
    apart = {"max_replicas_per_node": size.most_per_node} if size.most_per_node else {}
    return {
        "name": name,
        **copies,
        **apart,
        # The ingress itself turns requests away that are too many: Serve is not to let them wait before it.
        "max_ongoing_requests": size.max_ongoing_requests if name != INGRESS else _NEVER_REACHED,
        # Ray sets the replica's OMP_NUM_THREADS, which torch and LightGBM heed, to its whole CPUs, at least one.
        "ray_actor_options": {"num_cpus": size.cpus, "num_gpus": size.gpus, "resources": dict(size.resources)},
        "user_config": {BUNDLE_KEY: str(bundle)},
        "graceful_shutdown_wait_loop_s": 0.2,
        "graceful_shutdown_timeout_s": 10.0,
    }


_NEVER_REACHED = 100_000
