"""Serving a bundle: a cluster, the application applied to it, and a clean end."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from foveate.bundle import verify
from foveate.core.config import to_dict
from foveate.core.errors import ConfigError
from foveate.releases.viewer_state import state_of
from foveate.state.connect import StatePlace, check_state
from foveate.storage.folder import Place
from foveate.storage.transfer import absolute, is_address, local_copy
from foveate_serve.config import ServeConfig
from foveate_serve.graph import deployment_settings
from foveate_serve.http.admission import is_loopback
from foveate_serve.http.keys import Keys
from foveate_serve.names import APPLICATION
from foveate_serve.operations.cluster import cluster, local_cpus
from foveate_serve.operations.running import Running
from foveate_serve.telemetry.spans import exporter_asked, forwarded_variables, withheld_variables

_IMPORT_PATH: Final = "foveate_serve.graph:build"

Progress = Callable[[str], None]


@contextmanager
def start(
    bundle: Place,
    state: StatePlace | None = None,
    config: ServeConfig | None = None,
    *,
    address: str | None = None,
    progress: Progress | None = None,
) -> Iterator[str]:
    """Serve a bundle while the block runs; yield the base URL. See :func:`started`."""
    with started(bundle, state, config, address=address, progress=progress) as running:
        yield running.url()


@contextmanager
def started(
    bundle: Place,
    state: StatePlace | None = None,
    config: ServeConfig | None = None,
    *,
    address: str | None = None,
    progress: Progress | None = None,
) -> Iterator[Running]:
    """Serve a bundle while the block runs; yield the application once every replica is ready.

    Parameters
    ----------
    bundle
        The bundle's folder, or its address, from which each node brings it.
    state
        Where viewers' events and impressions are kept: a file, made if it is absent, or the address of a server, which
        must answer when serving starts. By default the store of the bundle's registry, or the file beside the bundle.
    config
        How to serve.
    address
        A running Ray cluster; None starts one here that ends with the block. On a cluster, the application is removed
        at the end if it was not there before, and other applications are left alone.
    progress
        Called with one line of news a step.

    Raises
    ------
    BundleError, StateError, ConfigError
        The bundle or the state cannot be used, the port is taken, or no cluster answers.
    ServingError
        The replicas did not become ready.
    """
    say = progress or (lambda _: None)
    config = config or ServeConfig()
    say(f"verifying bundle {verify(local_copy(bundle, verify)).bundle_id}")
    state = state or _usual_state(bundle)
    check_state(state)
    say(f"viewers' state in {state}")
    options = {"host": config.host, "port": config.port}
    if address is None:
        _check_room(config)
        options["port"] = _free_port(config.host, config.port)
    say("starting Ray" if address is None else f"connecting to {address}")
    if address is not None and exporter_asked(os.environ) and (withheld := withheld_variables(os.environ)):
        say(f"{', '.join(withheld)}: not put into Serve's config, which others can read; set it on the nodes")
    with cluster(address, config.proxy) as dashboard:
        say("Ray runs; deploying")
        running = Running(dashboard)
        was_there = running.is_there
        try:
            deploy(dashboard, bundle, state, config, options)
            running.wait_ready(config.start_timeout_s, say)
            say("ready")
            yield running
        finally:
            if not was_there:
                running.remove()


def deploy(dashboard: str, bundle: Place, state: StatePlace, config: ServeConfig, options: Mapping[str, Any]) -> None:
    """Apply a bundle and the sizes of ``config``, in place where the application runs already.

    Parameters
    ----------
    dashboard
        URL of the cluster's dashboard.
    options
        ``host`` and ``port`` of HTTP; they count only where Serve does not run yet.

    Raises
    ------
    ServingError
        Serve refuses the config.
    """
    application = application_settings(absolute(bundle), absolute(state), config)
    if exporter_asked(os.environ):
        # Replicas on other machines do not share this process's environment.
        application["runtime_env"] = {"env_vars": forwarded_variables(os.environ)}
    Running(dashboard).apply(application, options)


def application_settings(bundle: Place, state: StatePlace, config: ServeConfig) -> dict[str, Any]:
    """Return the application's part of Serve's config; both places go as they are to the nodes that read them."""
    return {
        "name": APPLICATION,
        "route_prefix": "/",
        "import_path": _IMPORT_PATH,
        # Serve restarts every replica where args change, which a new setting in a newer Foveate should not do.
        "args": {"config": _changed(to_dict(config), to_dict(ServeConfig())), "state": str(state)},
        "deployments": deployment_settings(config, bundle),
    }


def _usual_state(bundle: Place) -> StatePlace:
    """Return the state of a bundle that lies on this machine.

    Raises
    ------
    ConfigError
        The bundle lies at an address, where no state can be kept.
    """
    if is_address(bundle):
        remedy = "name a file or redis://HOST:PORT/DB with --state"
        raise ConfigError(f"viewers' state cannot be kept beside the bundle at '{bundle}': {remedy}")
    return state_of(Path(bundle))


def _changed(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is not as usual, at any depth."""
    own: dict[str, Any] = {}
    for name, value in settings.items():
        default = usual.get(name)
        if value != default:
            nested = isinstance(value, Mapping) and isinstance(default, Mapping)
            own[name] = _changed(value, default) if nested else value  # type: ignore[arg-type] # both are mappings
    return own


def _check_room(config: ServeConfig) -> None:
    """Refuse what this machine cannot hold: Ray would wait for more CPUs, or for another node, for ever.

    Raises
    ------
    ConfigError
        The replicas ask for more CPUs than there are, or for more nodes than this one.
    """
    for name, size in config.deployments.items():
        if 0 < size.most_per_node < size.least:
            found = (
                f"{name}.most_per_node is {size.most_per_node}, and this machine is one node for {size.least} replicas"
            )
            raise ConfigError(f"{found}: leave it out, or serve on a cluster with --address")
    asked = sum(size.least * size.cpus for size in config.deployments.values())
    if asked > local_cpus():
        remedy = "lower replicas or cpus, or serve on a cluster with --address"
        raise ConfigError(f"the replicas ask for {asked:g} CPUs, but there are {local_cpus()} here: {remedy}")


def _free_port(host: str, port: int) -> int:
    """Return ``port``, or a free one for 0.

    Raises
    ------
    ConfigError
        The port is taken, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port") from error
        return int(probe.getsockname()[1])


def check_access(config: ServeConfig, say: Callable[[str], None]) -> None:
    """Read the keys, and warn of a server that everyone in the network may ask.

    Raises
    ------
    ConfigError
        The file of keys cannot be read.
    """
    if config.access.keys is not None:
        Keys.read(config.access.keys)
    elif not is_loopback(config.host):
        say(f"warning: {config.host} is open to the network and no key is asked for; see 'foveate keys' and --keys")


def check_host(config: ServeConfig) -> None:
    """Refuse a host at which the server would never become ready.

    Raises
    ------
    ConfigError
        It is one of the machine's addresses, and HAProxy asks the replicas of its own machine at 127.0.0.1.
    """
    if config.proxy == "haproxy" and is_loopback(config.host) and ":" in config.host:
        remedy = "listen there, or set proxy=python"
        raise ConfigError(f"--host {config.host}: behind HAProxy replicas are asked at 127.0.0.1 alone: {remedy}")
    if config.proxy == "haproxy" and not is_loopback(config.host) and not _is_every(config.host):
        remedy = "listen on 0.0.0.0 behind a firewall, or set proxy=python"
        raise ConfigError(f"--host {config.host}: behind HAProxy replicas are asked at 127.0.0.1 too: {remedy}")


def _is_every(host: str) -> bool:
    """Whether a host means all addresses of this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False
