"""The cluster that serves: Serve is configured through its dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from foveate.errors import ConfigError
from foveate_cluster.ray_cluster import LOOPBACK, ray_cluster, usable_cpus

__all__ = ["LOOPBACK", "cluster", "local_cpus"]

LEAST_CPUS: Final = 2
"""Replicas take fractions of a CPU; on a machine with one they still find room."""


@contextmanager
def cluster(address: str | None) -> Iterator[str]:
    """Yield the URL of a cluster's dashboard.

    Parameters
    ----------
    address
        As :func:`foveate_cluster.ray_cluster.ray_cluster` takes it, or the dashboard's own ``http://HOST:PORT``.

    Raises
    ------
    ConfigError
        Nothing answers at the address, or the cluster has no dashboard.
    """
    if address is not None and address.startswith(("http://", "https://")):
        yield address.rstrip("/")
        return
    with ray_cluster(address, dashboard=True, least_cpus=LEAST_CPUS) as dashboard:
        if dashboard is None:
            where = f"at '{address}'" if address else "of this process"
            raise ConfigError(f"the Ray cluster {where} has no dashboard, through which Serve is configured")
        yield dashboard


def local_cpus() -> int:
    """Return how many CPUs a cluster that is started here has to give, in Ray's count."""
    return max(LEAST_CPUS, usable_cpus())
