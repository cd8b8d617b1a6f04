"""The cluster that serves: Serve is configured through its dashboard, and its proxy when Ray starts."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from foveate.core.errors import ConfigError
from foveate_cluster.environment import environment
from foveate_cluster.ray_cluster import LOOPBACK, ray_cluster, usable_cpus
from foveate_cluster.scratch import scratch_folder
from foveate_serve.config import Proxy
from foveate_serve.operations.haproxy import RECEIVE_S, launcher

__all__ = ["LOOPBACK", "cluster", "free_ports", "local_cpus", "throughput"]

LEAST_CPUS: Final = 2
"""Replicas take fractions of a CPU; on a machine with one they still find room."""

LISTENING: Final[Mapping[str, str]] = {
    # Connections have bounds, and what is too much is turned away before Ray has worked for it.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "foveate_serve.http.load_shedding.middlewares",
}
"""What Ray must find in its environment when it starts, on every node, whatever stands before the replicas."""

THROUGHPUT: Final[Mapping[str, str]] = {
    **LISTENING,
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # A client that takes nothing of an answer for so long loses its connection.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(RECEIVE_S),
    # A request whose replica was killed is asked of another one.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    # How long a replica that is to end still answers, so that the proxy can learn of it. Ray's own 30 s suit proxies
    # on other machines, and would make every stop last so long.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    # On a busy machine HAProxy takes its time to come up; after Ray's own 5 s it would be killed and started anew.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    # HAProxy that has died is started anew after three looks of the controller; by Ray's own 10 s that takes half a
    # minute, in which the node answers nobody.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
}
"""The same, with HAProxy before the replicas."""

_ADMIN: Final = "admin.sock"
_REPLICAS: Final = 200
"""Ports of a server on this machine for its replicas, of each protocol."""
_RANGES: Final = range(20_000, 32_000, 2 * _REPLICAS + 1)
"""Where such ranges may begin: below what Linux hands out for outgoing connections."""


@contextmanager
def cluster(address: str | None, proxy: Proxy = "haproxy") -> Iterator[str]:
    """Yield the URL of a cluster's dashboard.

    Parameters
    ----------
    address
        As :func:`foveate_cluster.ray_cluster.ray_cluster` takes it, or the dashboard's own ``http://HOST:PORT``.
    proxy
        What stands before the replicas of a cluster that is started here; a running one has its own.

    Raises
    ------
    ConfigError
        Nothing answers at the address, or the cluster has no dashboard.
    """
    if address is not None and address.startswith(("http://", "https://")):
        yield address.rstrip("/")
        return
    with ExitStack() as stack:
        if address is None:
            stack.enter_context(throughput() if proxy == "haproxy" else environment(LISTENING, keep=True))
        dashboard = stack.enter_context(ray_cluster(address, dashboard=True, least_cpus=LEAST_CPUS))
        if dashboard is None:
            where = f"at '{address}'" if address else "of this process"
            raise ConfigError(f"the Ray cluster {where} has no dashboard, through which Serve is configured")
        yield dashboard


def local_cpus() -> int:
    """Return how many CPUs a cluster that is started here has to give, in Ray's count."""
    return max(LEAST_CPUS, usable_cpus())


@contextmanager
def throughput() -> Iterator[None]:
    """Have a Ray that starts during the block put HAProxy before the replicas, with files and ports of its own."""
    with _own_folder() as folder, own_range(2 * _REPLICAS, random.sample(_RANGES, len(_RANGES))) as first:
        own = {**_own_files(folder), **_own_ports(), **_replica_ports(first)}
        with environment({**THROUGHPUT, **own}, keep=True):
            yield


@contextmanager
def _own_folder() -> Iterator[Path]:
    # Of its sockets' paths, which may hold about 100 characters, Ray adds nearly 70.
    with scratch_folder("fv-", Path("/tmp"), _has_haproxy) as folder:  # noqa: S108 - it is this user's alone
        yield folder


def _has_haproxy(folder: Path) -> bool:
    """Whether a HAProxy still listens on its socket in a folder, or in a node's folder in it."""
    for place in (folder / _ADMIN, *folder.glob(f"*/{_ADMIN}")):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(place)) == 0:
                return True
    return False


def _own_files(folder: Path) -> dict[str, str]:
    return {
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(launcher(folder)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / _ADMIN),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
    }


def _own_ports() -> dict[str, str]:
    stats, metrics, fallback, fallback_grpc = free_ports(4)
    return {
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        # Ray's own proxy, which HAProxy asks where it finds no replica, shares its port as replicas do theirs.
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, usable_cpus())),
    }


def _replica_ports(first: int) -> dict[str, str]:
    """Give the replicas ports from ``first`` on.

    Replicas share a port with whoever listens on it, and would answer another server's requests by their own bundle.
    """
    bounds = {
        "MIN_HTTP": first,
        "MAX_HTTP": first + _REPLICAS - 1,
        "MIN_GRPC": first + _REPLICAS,
        "MAX_GRPC": first + 2 * _REPLICAS - 1,
    }
    return {f"RAY_SERVE_DIRECT_INGRESS_{name}_PORT": str(port) for name, port in bounds.items()}


@contextmanager
def own_range(count: int, firsts: Iterable[int]) -> Iterator[int]:
    """Yield the first of ``count`` ports of this machine that are nobody's; in the block they are not given again.

    Parameters
    ----------
    firsts
        Where a range may begin; the port itself marks the range as taken, those after it are yielded.

    Raises
    ------
    ConfigError
        Each of the ranges is another's, or somebody listens in it.
    """
    for first in firsts:
        with socket.socket() as mark:
            try:
                mark.bind(("", first))
            except OSError:
                continue
            if all(map(_is_free, range(first + 1, first + 1 + count))):
                yield first + 1
                return
    raise ConfigError("no range of ports is free for the replicas: stop another server of this machine")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
