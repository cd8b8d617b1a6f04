"""The graph that Serve builds: ingress, retriever and ranker, each with replicas of its own, or all in one replica.

The bundle comes by ``user_config``, so that a new one is applied to running replicas.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import serve

from foveate.config import from_dict
from foveate_serve.bundles.holder import BundleHolder, Status
from foveate_serve.bundles.loading import load_ranker, load_sources
from foveate_serve.config import DeploymentConfig, ServeConfig
from foveate_serve.ingress import Ingress
from foveate_serve.names import BUNDLE_KEY, INGRESS, RANKER, RETRIEVER, SHADOW
from foveate_serve.operations.scaling import autoscaling_settings
from foveate_serve.sight import Sight
from foveate_serve.stages.ranker import Ranker
from foveate_serve.stages.retriever import Retriever
from foveate_serve.stages.shadow import ShadowReplica


class _Holding:
    """A replica that takes bundles as Serve tells it."""

    _holder: BundleHolder

    async def reconfigure(self, user_config: Mapping[str, str]) -> None:
        """Take the bundle that ``user_config`` names."""
        await self._holder.take(Path(user_config[BUNDLE_KEY]))

    def status(self) -> Status:
        """Return what this replica holds."""
        return self._holder.status()


class RetrieverReplica(_Holding, Retriever):
    """A retriever in a replica of its own."""

    def __init__(self, largest: int) -> None:
        sight = Sight.of_replica(RETRIEVER, os.environ)
        super().__init__(BundleHolder(RETRIEVER, load_sources, sight.told), largest, sight)


class RankerReplica(_Holding, Ranker):
    """A ranker in a replica of its own."""

    def __init__(self, largest: int) -> None:
        sight = Sight.of_replica(RANKER, os.environ)
        super().__init__(BundleHolder(RANKER, load_ranker, sight.told), largest, sight)


def build(args: dict[str, Any]) -> serve.Application:
    """Build the graph: what Serve's config names as ``import_path``.

    Parameters
    ----------
    args
        ``config``, a :class:`~foveate_serve.config.ServeConfig` as plain values, and ``state``, a file.
    """
    config = from_dict(ServeConfig, args["config"])
    ingress = serve.deployment(name=INGRESS)(serve.ingress()(Ingress))
    others = {}
    if config.topology == "split":
        others[RETRIEVER] = serve.deployment(name=RETRIEVER)(RetrieverReplica).bind(config.largest_batch)
        others[RANKER] = serve.deployment(name=RANKER)(RankerReplica).bind(config.largest_batch)
    if config.shadow.bundle:
        others[SHADOW] = serve.deployment(name=SHADOW)(ShadowReplica).bind(args["state"])
    return ingress.bind(args["config"], args["state"], **others)


def deployment_settings(config: ServeConfig, bundle: Path) -> list[dict[str, Any]]:
    """Return the deployments' part of Serve's config; a change of the bundle or of replicas is applied in place."""
    shadow = Path(config.shadow.bundle).resolve()
    return [_settings(name, size, shadow if name == SHADOW else bundle) for name, size in config.deployments.items()]


def _settings(name: str, size: DeploymentConfig, bundle: Path) -> dict[str, Any]:
    auto = size.autoscaling
    copies = {"autoscaling_config": autoscaling_settings(auto)} if auto else {"num_replicas": size.replicas}
    return {
        "name": name,
        **copies,
        # The ingress itself turns requests away that are too many: Serve is not to let them wait before it.
        "max_ongoing_requests": size.max_ongoing_requests if name != INGRESS else _NEVER_REACHED,
        # Ray sets the replica's OMP_NUM_THREADS, which torch and LightGBM heed, to its whole CPUs, at least one.
        "ray_actor_options": {"num_cpus": size.cpus, "num_gpus": size.gpus, "resources": dict(size.resources)},
        "user_config": {BUNDLE_KEY: str(bundle)},
        "graceful_shutdown_wait_loop_s": 0.2,
        "graceful_shutdown_timeout_s": 10.0,
    }


_NEVER_REACHED = 100_000
