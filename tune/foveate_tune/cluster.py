"""The cluster that long work runs on, and whether it is large enough."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import ray
import torch

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


@dataclass(frozen=True)
class Node:
    """What a machine has."""

    cpus: float
    gpus: float

    def places(self, need: Resources) -> int:
        """Return how many pieces of work fit at once; each has its share of one GPU to itself."""
        by_cpu = int(self.cpus // need.cpus) if need.cpus else None
        by_gpu = int(self.gpus) * int(1 / need.gpus + 1e-9) if need.gpus else None
        return min((places for places in (by_cpu, by_gpu) if places is not None), default=1)


def check_local(need: Resources, workers: int = 1) -> None:
    """Refuse what this machine cannot give to so many workers, before a cluster is started on it.

    Raises
    ------
    ConfigError
        It asks for more CPUs or GPUs than there are.
    """
    check_nodes(need, workers, [this_machine()], "this machine")


def this_machine() -> Node:
    """Return what a cluster that is started here would have."""
    return Node(usable_cpus(), torch.cuda.device_count())


def nodes() -> list[Node]:
    """Return what the nodes of the cluster have that this process is connected to."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [Node(float(has.get("CPU", 0)), float(has.get("GPU", 0))) for has in alive]


@contextmanager
def cluster(address: str | None, need: Resources, workers: int = 1) -> Iterator[None]:
    """Be connected to a cluster on which so many workers that take ``need`` find room.

    Raises
    ------
    ConfigError
        Nothing answers at ``address``, or the nodes of the cluster cannot hold them.
    """
    with environment(_ENVIRONMENT, keep=True), _quiet(), ray_cluster(address):
        check_nodes(need, workers, nodes(), "the cluster")
        yield


def check_nodes(need: Resources, workers: int, machines: Sequence[Node], where: str) -> None:
    """Refuse what the machines cannot give.

    Raises
    ------
    ConfigError
        They have too few CPUs or GPUs; the message says how many there are.
    """
    found = sum(machine.places(need) for machine in machines)
    if found >= workers:
        return
    asked = f"{need.cpus * workers} CPUs" + (f" and {need.gpus * workers:g} GPUs" if need.gpus else "")
    kinds = dict.fromkeys(f"{machine.cpus:g} CPUs and {machine.gpus:g} GPUs" for machine in machines)
    has = f"{where} has {next(iter(kinds))}" if len(kinds) == 1 else f"the nodes of {where} have {'; '.join(kinds)}"
    if len(machines) > 1 and len(kinds) == 1:
        has = f"each node of {where} has {next(iter(kinds))}"
    if workers > 1:
        asked += f" in {workers} workers"
        has += f", room for {found} of them"
    raise ConfigError(f"one trial asks for {asked}, but {has}: lower {'workers, ' * (workers > 1)}cpus or gpus")


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
