"""A Ray cluster for as long as a block lasts.

This is an edge: the environment variables that Ray reads at its start are set here, and put back.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import ray
from ray._private import ray_constants

from foveate.core.errors import ConfigError
from foveate_cluster.environment import environment
from foveate_cluster.scratch import OWNER, scratch_folder

LOOPBACK: Final = "127.0.0.1"
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
def ray_cluster(address: str | None, *, dashboard: bool = False, least_cpus: int = 1) -> Iterator[str | None]:
    """Be connected to a cluster; leave it, and stop it if it was started here, when the block ends.

    Within a process that is connected already, and without an ``address``, that connection is used and left open.

    Parameters
    ----------
    address
        ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT`` of a running cluster; None starts one on this machine.
    dashboard
        Whether a cluster that is started here needs its dashboard, which costs some seconds.
    least_cpus
        How many CPUs a cluster that is started here has to give at least, in Ray's count.

    Yields
    ------
    str or None
        URL of the cluster's dashboard, None where it has none.

    Raises
    ------
    ConfigError
        Nothing answers at ``address``.
    """
    with environment(_ENVIRONMENT, keep=True):
        if address is not None:
            with _connected(address) as url:
                yield url
        elif ray.is_initialized():
            yield _url(_rejoin().dashboard_url)
        else:
            with _started(max(least_cpus, usable_cpus()), dashboard) as url:
                yield url


def check_address(address: str | None) -> None:
    """Refuse an address that is none, or at which nothing listens: Ray itself would wait for minutes.

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
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        reason = error.strerror or "no answer"
        raise ConfigError(f"--address '{address}': no Ray cluster answers there ({reason})") from error


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _join(address: str) -> Any:
    """Join a cluster; a busy node that was slow to start a client's process gets a second try."""
    join = partial(ray.init, address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    try:
        return join()
    except ConnectionAbortedError:
        # Ray's client server gives that process half a minute, and finds its files warm the next time.
        return join()


@contextmanager
def _connected(address: str) -> Iterator[str | None]:
    check_address(address)
    try:
        with _on_loopback(_hides_on_loopback(address)), _muted():
            context = _join(address)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        said = str(error).strip().splitlines()
        # The first line says where it failed, the last one why; between them may stand the server's traceback.
        reason = " ".join(dict.fromkeys((said[0], said[-1]))) if said else type(error).__name__
        remedy = "is it running, and is RAY_AUTH_TOKEN that of the cluster?"
        raise ConfigError(f"--address '{address}': no Ray cluster lets us in ({reason}): {remedy}") from error
    try:
        yield _url(context.dashboard_url)
    finally:
        ray.shutdown()


@contextmanager
def _started(cpus: int, dashboard: bool) -> Iterator[str | None]:
    parent = _SHORT_FOLDER if _SHORT_FOLDER.is_dir() else Path(tempfile.gettempdir())
    _bring_token()
    with scratch_folder("foveate-ray-", parent, _is_older) as scratch:
        yield from _started_in(scratch, cpus, dashboard)


def _is_older(folder: Path) -> bool:
    """Whether an older Foveate made a folder: who owns it cannot be known."""
    return not (folder / OWNER).exists()


def _started_in(scratch: Path, cpus: int, dashboard: bool) -> Iterator[str | None]:
    try:
        # A dashboard's own processes look for the cluster at the address that faces the network, whatever it was told.
        with _on_loopback(not dashboard), _own_signals():
            context = ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=dashboard,
                dashboard_host=LOOPBACK,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                _node_ip_address=LOOPBACK,
                _temp_dir=str(scratch),
            )
        yield _url(context.dashboard_url)
    finally:
        # Also after an interrupt in the midst of a start, which leaves processes already.
        ray.shutdown()
        _remove(scratch)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handlers of SIGINT and SIGTERM over a start of Ray in the block, which sets its own.

    Where Ray's handler has answered a SIGTERM during the start, the process's own answers it too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # What Ray's C++ handler writes of its stack is no news to who ended the start.
        with _muted():
            yield
    except BaseException as end:
        # That handler also sets an alarm that aborts the process three seconds later.
        signal.alarm(0)
        terminate = before[signal.SIGTERM]
        if isinstance(end, SystemExit) and callable(terminate):
            terminate(signal.SIGTERM, None)
        raise
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def _on_loopback(wanted: bool) -> Iterator[None]:
    """Let Ray call this machine 127.0.0.1 while it starts or connects.

    Left alone it takes the address that faces the network, even when it is told 127.0.0.1, and listens to everyone.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = before and not wanted
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _muted() -> Iterator[None]:
    """Drop what Ray's C++ writes to standard error while it tries to join, whatever level of logs it is told.

    A line each second of a refused token would hide the one line that says what to do.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _hides_on_loopback(address: str) -> bool:
    """Whether a cluster of this machine answers on 127.0.0.1 alone, where Ray would not look for it."""
    host, _, port = address.rpartition(":")
    if host not in (LOOPBACK, "localhost"):
        return False
    try:
        socket.create_connection((_facing_ip(), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError:
        return True
    return False


def _facing_ip() -> str:
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return address


def _rejoin() -> Any:
    # By its address: left to itself, Ray would answer for whichever cluster of this machine was started last.
    own = ray.get_runtime_context().gcs_address
    return ray.init(address=own, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.CRITICAL)


def _url(dashboard: str | None) -> str | None:
    return f"http://{dashboard}" if dashboard else None


def _remove(folder: Path) -> None:
    """Remove Ray's folder; processes that are just ending may still write into it, so more than one try is made."""
    give_up = time.monotonic() + _REMOVE_TIMEOUT_S
    while folder.exists() and time.monotonic() < give_up:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def _bring_token() -> None:
    """Give Ray a token of this process's own, unless the user or an earlier start has settled that already.

    It keeps the machine's other users out. Left alone, Ray would write one into the user's home. It stays set: Ray
    reads it once a process.
    """
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
