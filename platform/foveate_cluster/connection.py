"""The cluster that long work runs on, and whether it is large enough."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import ray
import torch

from foveate.core.errors import ConfigError
from foveate_cluster.environment import environment
from foveate_cluster.ray_cluster import ray_cluster, usable_cpus
from foveate_cluster.resources import Resources, listed

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
class Node:
    """What a machine has."""

    cpus: float
    gpus: float
    custom: Mapping[str, float] = field(default_factory=dict)

    def capacity(self, need: Resources) -> int:
        """Return how many pieces of work fit at once; each has its share of one GPU to itself."""
        by_cpu = [int(self.cpus // need.cpus)] if need.cpus else []
        by_gpu = [int(self.gpus) * int(1 / need.gpus + 1e-9)] if need.gpus else []
        by_custom = [int(self.custom.get(name, 0.0) / amount + 1e-9) for name, amount in need.custom.items()]
        return min([*by_cpu, *by_gpu, *by_custom], default=1)

    def in_words(self, need: Resources) -> str:
        """Return what it has of CPUs, GPUs and whatever else ``need`` names, in words."""
        custom = (f"{self.custom.get(name, 0.0):g} {name}" for name in need.custom)
        return listed(f"{self.cpus:g} CPUs", f"{self.gpus:g} GPUs", *custom)


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


def nodes(busy: str | None = None) -> list[Node]:
    """Return what the nodes of the cluster have that this process is connected to.

    Parameters
    ----------
    busy
        Id of a node of which one CPU is not counted.
    """
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [_node(node["Resources"], taken=node["NodeID"] == busy) for node in alive]


def _node(has: Mapping[str, float], *, taken: bool) -> Node:
    return Node(float(has.get("CPU", 0)) - taken, float(has.get("GPU", 0)), _custom(has))


def _custom(has: Mapping[str, float]) -> dict[str, float]:
    rays = ("CPU", "GPU", "memory", "object_store_memory")
    return {name: float(amount) for name, amount in has.items() if name not in rays and ":" not in name}


@contextmanager
def cluster(address: str | None, need: Resources, workers: int = 1) -> Iterator[None]:
    """Be connected to a cluster on which so many workers that take ``need`` find room.

    Raises
    ------
    ConfigError
        Nothing answers at ``address``, or the nodes of the cluster cannot hold them.
    """
    with environment(_ENVIRONMENT, keep=True), quiet(), ray_cluster(address):
        check_nodes(need, workers, nodes(), "the cluster")
        yield


def check_nodes(need: Resources, workers: int, machines: Sequence[Node], where: str) -> None:
    """Refuse what the machines cannot give.

    Raises
    ------
    ConfigError
        They have too few CPUs or GPUs; the message says how many there are.
    """
    found = sum(machine.capacity(need) for machine in machines)
    if found >= workers:
        return
    asked = need.in_words(workers)
    kinds = dict.fromkeys(machine.in_words(need) for machine in machines)
    has = f"{where} has {next(iter(kinds))}" if len(kinds) == 1 else f"the nodes of {where} have {'; '.join(kinds)}"
    if len(machines) > 1 and len(kinds) == 1:
        has = f"each node of {where} has {next(iter(kinds))}"
    if workers > 1:
        asked += f" in {workers} workers"
        has += f", room for {found} of them"
    what = f"{'workers, ' * (workers > 1)}cpus or gpus" if not need.custom else "what it asks for"
    raise ConfigError(f"one trial asks for {asked}, but {has}: lower {what}")


def check_room(need: Resources, workers: int, setting: str) -> None:
    """Refuse more workers than fit on the cluster that this process is connected to: Ray would wait for ever.

    Parameters
    ----------
    setting
        What says how many they are, such as ``ranker.workers``.

    Raises
    ------
    ConfigError
        As said; the message tells for how many there is room.
    """
    # A task on the cluster, such as a training that was sent there, keeps its own CPU while it waits.
    runtime = ray.get_runtime_context()
    room = sum(node.capacity(need) for node in nodes(busy=runtime.get_node_id() if runtime.get_task_id() else None))
    if room < workers:
        raise ConfigError(
            f"{setting}: {workers} workers of {need.in_words()} each, but the cluster has room for {room}: "
            "lower it, or name a larger cluster with --address"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Ray's own log from the user: what matters is said by the sweep."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
