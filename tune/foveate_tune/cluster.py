"""The Ray cluster that long work runs on: one that is there already, or one of its own that goes when the work is done.

This is an edge: the environment variables that Ray reads at its start are set here, and put back.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from foveate.errors import ConfigError
from foveate_tune.edges import environment

_ENVIRONMENT = {
    # Nothing is sent to anyone unasked.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ctrl-C must reach the sweep as KeyboardInterrupt, which ends it in order.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The sweep chooses its loggers itself.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The newer output prints a banner however quiet it is told to be.
    "RAY_AIR_NEW_OUTPUT": "0",
    # A failed trial stands in the leaderboard with its reason.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_LOOPBACK = "127.0.0.1"
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Resources:
    """What one piece of work takes; ``gpus`` may be a fraction."""

    cpus: int = 1
    gpus: float = 0.0


def check_address(address: str | None) -> None:
    """Refuse an address that is none, or at which nothing listens.

    Raises
    ------
    ConfigError
        As said; the message tells what an address looks like.
    """
    if address is None or address == "auto":
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and host and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"--address '{address}' must be auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or "no answer"
        raise ConfigError(f"--address '{address}': no Ray cluster answers there ({reason})") from error


def check_local(need: Resources) -> None:
    """Refuse what this machine cannot give, before a cluster is started on it.

    Raises
    ------
    ConfigError
        It asks for more CPUs than there are.
    """
    if need.cpus > usable_cpus():
        raise ConfigError(f"one trial asks for {need.cpus} CPUs, but this machine has {usable_cpus()}")


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def cluster(address: str | None, need: Resources) -> Iterator[None]:
    """Be connected to a cluster; leave it, and stop it if it was started here, when the block ends.

    Within a process that is connected already, and without an ``address``, that connection is used and left open.

    Raises
    ------
    ConfigError
        Nothing answers at ``address``, or no node of the cluster can hold ``need``.
    """
    with environment(_ENVIRONMENT, keep=True), _quiet():
        if address is None and ray.is_initialized():
            _check_nodes(need)
            yield
            return
        with _connected(address) if address else _started():
            _check_nodes(need)
            yield


@contextmanager
def _connected(address: str) -> Iterator[None]:
    check_address(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"--address '{address}': no Ray cluster answers there ({reason})") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _started() -> Iterator[None]:
    # Ray makes sockets under this folder, whose paths may hold at most 107 characters: a short one is needed.
    scratch = tempfile.mkdtemp(prefix="foveate-ray-")
    _bring_token()
    try:
        ray.init(
            address="local",
            num_cpus=usable_cpus(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            _node_ip_address=_LOOPBACK,
            _temp_dir=scratch,
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


def _bring_token() -> None:
    """Give Ray a token of this process's own, unless the user or an earlier start has settled that already.

    It keeps other users of this machine out. Left alone, Ray would write one into the user's home. It stays set: Ray
    reads it once a process.
    """
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


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
