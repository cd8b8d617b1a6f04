"""The Ray cluster that serves: one that is there already, or one of its own that goes when serving ends.

This is an edge: the environment variables that Ray reads at its start are set here, and put back.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import ray

from foveate.errors import ConfigError

LOOPBACK: Final = "127.0.0.1"
_LEAST_CPUS: Final = 2
_SHORT_FOLDER: Final = Path("/tmp")  # noqa: S108 - mkdtemp makes a folder of its own in it
"""Ray makes sockets under its folder, whose paths may hold about 100 characters: a user's TMPDIR may be too long."""
_ENVIRONMENT: Final = {
    # Nothing is sent to anyone unasked.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_CONNECT_TIMEOUT_S: Final = 5.0
_REMOVE_TIMEOUT_S: Final = 3.0


@contextmanager
def cluster(address: str | None) -> Iterator[str]:
    """Yield the URL of a cluster's dashboard, through which Serve is configured.

    Parameters
    ----------
    address
        ``auto``, ``HOST:PORT``, ``ray://HOST:PORT`` or the dashboard's own ``http://HOST:PORT``. None takes the
        cluster that this process is connected to, or starts one here and stops it at the end.

    Raises
    ------
    ConfigError
        Nothing answers at the address, or the cluster has no dashboard.
    """
    if address is not None and address.startswith(("http://", "https://")):
        yield address.rstrip("/")
    elif address is not None:
        with _connected(address) as dashboard:
            yield dashboard
    elif ray.is_initialized():
        yield _url(ray.init(ignore_reinit_error=True, logging_level=logging.CRITICAL).dashboard_url, "of this process")
    else:
        with _started() as dashboard:
            yield dashboard


@contextmanager
def _connected(address: str) -> Iterator[str]:
    _check_answers(address)
    try:
        context = ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"--address '{address}': no Ray cluster answers there ({reason})") from error
    try:
        yield _url(context.dashboard_url, address)
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself would wait for minutes."""
    if address == "auto":
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and host and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"--address '{address}' must be auto, HOST:PORT, ray://HOST:PORT or http://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ConfigError(f"--address '{address}': no Ray cluster answers there ({error})") from error


@contextmanager
def _started() -> Iterator[str]:
    scratch = tempfile.mkdtemp(prefix="foveate-ray-", dir=_SHORT_FOLDER if _SHORT_FOLDER.is_dir() else None)
    _bring_token()
    try:
        with _environment(_ENVIRONMENT):
            context = ray.init(
                address="local",
                num_cpus=local_cpus(),
                include_dashboard=True,
                dashboard_host=LOOPBACK,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                _node_ip_address=LOOPBACK,
                _temp_dir=scratch,
            )
            yield _url(context.dashboard_url, "local")
    finally:
        # Also after an interrupt in the midst of a start, which leaves processes already.
        ray.shutdown()
        _remove(Path(scratch))


def _remove(folder: Path) -> None:
    """Remove Ray's folder; processes that are just ending may still write into it, so more than one try is made."""
    give_up = time.monotonic() + _REMOVE_TIMEOUT_S
    while folder.exists() and time.monotonic() < give_up:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def local_cpus() -> int:
    """Return how many CPUs a cluster that is started here has to give, in Ray's count."""
    # Replicas take fractions of a CPU; on a machine with one they still find room.
    return max(_LEAST_CPUS, os.cpu_count() or _LEAST_CPUS)


def _bring_token() -> None:
    """Give Ray a token of this process's own, unless the user or an earlier start has settled that already.

    Some of Ray's ports listen on every interface, and its token keeps strangers out. Left alone, Ray would write one
    into the user's home. It stays set: Ray reads it once a process.
    """
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _url(dashboard: str | None, address: str) -> str:
    if not dashboard:
        raise ConfigError(f"the Ray cluster '{address}' has no dashboard, through which Serve is configured")
    return f"http://{dashboard}"


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
