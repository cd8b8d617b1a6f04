"""The cluster that long work runs on, and whether it is large enough."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from foveate.errors import ConfigError
from foveate_cluster.edges import environment
from foveate_cluster.ray_cluster import ray_cluster, usable_cpus

_ENVIRONMENT = {
    # Ctrl-C must reach the sweep as KeyboardInterrupt, which ends it in order.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The sweep chooses its loggers itself.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The newer output prints a banner however quiet it is told to be.
    "RAY_AIR_NEW_OUTPUT": "0",
    # A failed trial stands in the leaderboard with its reason.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


@dataclass(frozen=True)
class Resources:
    """What one piece of work takes; ``gpus`` may be a fraction."""

    cpus: int = 1
    gpus: float = 0.0


def check_local(need: Resources, workers: int = 1) -> None:
    """Refuse what this machine cannot give to so many workers, before a cluster is started on it.

    Raises
    ------
    ConfigError
        It asks for more CPUs than there are.
    """
    if need.cpus * workers > usable_cpus():
        raise ConfigError(f"one trial asks for {need.cpus * workers} CPUs, but this machine has {usable_cpus()}")


@contextmanager
def cluster(address: str | None, need: Resources) -> Iterator[None]:
    """Be connected to a cluster on which work that takes ``need`` finds room.

    Raises
    ------
    ConfigError
        Nothing answers at ``address``, or no node of the cluster can hold ``need``.
    """
    with environment(_ENVIRONMENT, keep=True), _quiet(), ray_cluster(address):
        _check_nodes(need)
        yield


def _check_nodes(need: Resources) -> None:
    nodes: list[dict[str, Any]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    if any(node.get("CPU", 0) >= need.cpus and node.get("GPU", 0) >= need.gpus for node in nodes):
        return
    most = max(nodes, key=lambda node: float(node.get("CPU", 0)), default={})
    has = f"the largest node of the cluster has {most.get('CPU', 0):g} CPUs and {most.get('GPU', 0):g} GPUs"
    raise ConfigError(f"one trial asks for {need.cpus} CPUs and {need.gpus:g} GPUs, but {has}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's own log from the user: what matters is said by the sweep."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
