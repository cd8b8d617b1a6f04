"""Serving a bundle: a cluster, three deployments applied through Serve's config, and a clean end.

Serve's config path is used and not ``serve.run``, which would restart every replica each time: a new bundle is applied
to running replicas in place.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from foveate.bundle import default_state, verify
from foveate.config import to_dict
from foveate.errors import ConfigError, ServingError
from foveate.state.sqlite import SqliteState
from foveate_serve.cluster import LOOPBACK, cluster, local_cpus
from foveate_serve.config import ServeConfig
from foveate_serve.graph import deployment_settings
from foveate_serve.names import APPLICATION

_IMPORT_PATH: Final = "foveate_serve.graph:build"
_POLL_S: Final = 0.1
_STOP_TIMEOUT_S: Final = 15.0
_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to

Progress = Callable[[str], None]


@contextmanager
def start(
    bundle: Path,
    state: Path | None = None,
    config: ServeConfig | None = None,
    *,
    address: str | None = None,
    progress: Progress | None = None,
) -> Iterator[str]:
    """Serve a bundle while the block runs; yield the base URL once every replica is ready.

    Parameters
    ----------
    bundle
        The bundle's folder.
    state
        The file of viewers' events and impressions, made if it is absent; by default the one beside the bundle.
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
        The bundle or the state file cannot be used, the port is taken, or no cluster answers.
    ServingError
        The replicas did not become ready.
    """
    say = progress or (lambda _: None)
    config = config or ServeConfig()
    state = state or default_state(bundle)
    say(f"verifying bundle {verify(bundle).bundle_id}")
    SqliteState(state).close()
    options = {"host": config.host, "port": config.port}
    if address is None:
        _check_room(config)
        options["port"] = _free_port(config.host, config.port)
    say("starting Ray" if address is None else f"connecting to {address}")
    with cluster(address, config.proxy) as dashboard:
        say("deploying")
        with _deployed(dashboard, bundle, state, config, options) as url:
            yield url


def deploy(dashboard: str, bundle: Path, state: Path, config: ServeConfig, options: Mapping[str, Any]) -> None:
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
    client = _client(dashboard)
    application = {
        "name": APPLICATION,
        "route_prefix": "/",
        "import_path": _IMPORT_PATH,
        "args": {"config": to_dict(config), "state": str(state.resolve())},
        "deployments": deployment_settings(config, bundle.resolve()),
    }
    details = client.get_serve_details()
    _put(client, [*_others(details), application], _http_options(details) or dict(options))


@contextmanager
def _deployed(
    dashboard: str, bundle: Path, state: Path, config: ServeConfig, options: Mapping[str, Any]
) -> Iterator[str]:
    client = _client(dashboard)
    was_there = APPLICATION in client.get_serve_details()["applications"]
    try:
        deploy(dashboard, bundle, state, config, options)
        url = _url(client, dashboard)
        _wait_ready(client, url, config.start_timeout_s)
        yield url
    finally:
        if not was_there:
            _remove(client)


def _client(dashboard: str) -> ServeSubmissionClient:
    try:
        return ServeSubmissionClient(dashboard)
    except (ConnectionError, RuntimeError) as error:
        raise ConfigError(f"no Ray dashboard answers at '{dashboard}' ({error})") from error


def _put(client: ServeSubmissionClient, applications: list[Any], options: Mapping[str, Any]) -> None:
    config = {
        "proxy_location": "HeadOnly",
        "http_options": options,
        "logging_config": {"enable_access_log": False},
        "applications": applications,
    }
    try:
        client.deploy_applications(config)
    except (RuntimeError, ConnectionError) as error:
        raise ServingError(f"Ray Serve refused the application: {error}") from error


def _others(details: Mapping[str, Any]) -> list[Any]:
    """Return the configs of the cluster's other applications: a PUT replaces all of them."""
    applications = details["applications"].items()
    configs = [one.get("deployed_app_config") for name, one in applications if name != APPLICATION]
    return [config for config in configs if config]


def _http_options(details: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the running proxies' options, which cannot be changed; None where Serve does not run yet."""
    options = details.get("http_options") or {}
    return {name: options[name] for name in ("host", "port")} if options.get("port") else None


def _url(client: ServeSubmissionClient, dashboard: str) -> str:
    options = _http_options(client.get_serve_details()) or {}
    host = options.get("host", LOOPBACK)
    if host in _EVERYWHERE:
        host = urlsplit(dashboard).hostname or LOOPBACK
    return f"http://[{host}]:{options['port']}" if ":" in host else f"http://{host}:{options['port']}"


def _wait_ready(client: ServeSubmissionClient, url: str, timeout_s: float) -> None:
    give_up = time.monotonic() + timeout_s
    said = "no answer yet"
    while time.monotonic() < give_up:
        try:
            answer = httpx.get(f"{url}/health/ready", timeout=5.0)
            if answer.status_code == 200:
                return
            said = answer.text
            _check_taken(answer)
        except httpx.HTTPError as error:
            said = str(error)
        _check_not_failed(client)
        time.sleep(_POLL_S)
    raise ServingError(f"serving was not ready after {timeout_s:g} seconds: {said}")


def _check_taken(answer: httpx.Response) -> None:
    """Give up at once where a replica could not take the bundle: it will not try again by itself."""
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return
    for part in answer.json().get("parts", []):
        if part["bundle_id"] is None and part["refused"]:
            raise ServingError(f"the {part['deployment']} could not start: {part['problem']}")


def _check_not_failed(client: ServeSubmissionClient) -> None:
    application = client.get_serve_details()["applications"].get(APPLICATION, {})
    if application.get("status") == "DEPLOY_FAILED":
        raise ServingError(f"the deployments did not come up: {application.get('message', '').strip()}")


def _remove(client: ServeSubmissionClient) -> None:
    """Take the application away and wait until its replicas have ended, so that what they hold is written."""
    details = client.get_serve_details()
    others = _others(details)
    if others:
        _put(client, others, _http_options(details) or {})
    else:
        client.delete_applications()  # type: ignore[no-untyped-call]
    give_up = time.monotonic() + _STOP_TIMEOUT_S
    while APPLICATION in client.get_serve_details()["applications"] and time.monotonic() < give_up:
        time.sleep(_POLL_S)


def _check_room(config: ServeConfig) -> None:
    """Refuse what this machine cannot hold: Ray would wait for more CPUs for ever.

    Raises
    ------
    ConfigError
        The replicas ask for more CPUs than there are.
    """
    asked = sum(size.replicas * size.cpus for size in config.deployments.values())
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
