"""The application on a cluster, looked at and changed through the cluster's dashboard and its own health page.

Serve's config path is used and not ``serve.run``, which would restart every replica each time: a new bundle or another
number of replicas is applied to a running server in place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import httpx
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
from ray.exceptions import AuthenticationError

from foveate.core.errors import ConfigError, ServingError
from foveate.storage.files import locked
from foveate.storage.transfer import cache
from foveate_serve.names import APPLICATION, BUNDLE_KEY, SHADOW
from foveate_serve.operations.cluster import LOOPBACK

POLL_S: Final = 0.1
RUNNING: Final = "RUNNING"
"""The state of a replica that answers."""
_STOP_TIMEOUT_S: Final = 15.0
_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_JSON: Final = "application/json"


class Running:
    """The application of one cluster, whether it runs there yet or not.

    Parameters
    ----------
    dashboard
        URL of the cluster's dashboard.

    Raises
    ------
    ConfigError
        No dashboard answers there, or it does not let us in.
    """

    def __init__(self, dashboard: str) -> None:
        self.dashboard = dashboard
        try:
            self._client = ServeSubmissionClient(dashboard)
        except AuthenticationError as error:
            remedy = "is RAY_AUTH_TOKEN that of the cluster?"
            raise ConfigError(f"the Ray dashboard at '{dashboard}' does not let us in: {remedy}") from error
        except (OSError, RuntimeError) as error:
            raise ConfigError(f"no Ray dashboard answers at '{dashboard}' ({error})") from error

    @property
    def is_there(self) -> bool:
        """Whether the application was applied."""
        return APPLICATION in self._details()["applications"]

    def application(self) -> dict[str, Any]:
        """Return what Serve says of the application.

        Raises
        ------
        ServingError
            It does not run there.
        """
        found: dict[str, Any] | None = self._details()["applications"].get(APPLICATION)
        if found is None or not found.get("deployed_app_config"):
            raise ServingError(
                f"no server of Foveate runs on the cluster of '{self.dashboard}': foveate serve starts one"
            )
        return found

    def states(self) -> dict[str, list[str]]:
        """Return the state of each replica, by deployment; raises as :meth:`application` does."""
        deployments = self.application()["deployments"]
        return {
            name: [one["state"] for one in deployment.get("replicas", [])] for name, deployment in deployments.items()
        }

    def apply(self, application: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        """Have Serve run the application like this.

        Parameters
        ----------
        options
            ``host`` and ``port`` of HTTP; they count only where Serve does not run yet.

        Raises
        ------
        ServingError
            Serve refuses it.
        """
        details = self._details()
        self._put([*_others(details), application], _http_options(details) or options)

    def change(self, edit: Callable[[dict[str, Any]], None]) -> None:
        """Change each deployment's part of what was applied, and leave the rest as it is.

        Parameters
        ----------
        edit
            Changes one deployment's settings in place.

        Raises
        ------
        ServingError
            The application does not run, or Serve refuses the change.
        """
        # Serve takes the whole config and knows no condition: of two who read it and put it back, one would undo the
        # other's change. On this machine they wait for each other; a follower mends what another machine undid.
        with locked(cache() / f"serve-{sha256(self.dashboard.encode()).hexdigest()[:16]}.lock"):
            application = self.application()["deployed_app_config"]
            for deployment in application["deployments"]:
                edit(deployment)
            self.apply(application, {})

    def bundles(self) -> set[str]:
        """Return the places of the bundles that replicas are told to hold, the shadow's aside: one, unless changed.

        Raises
        ------
        ServingError
            The application does not run.
        """
        deployments = self.application()["deployed_app_config"]["deployments"]
        configs = (one.get("user_config") or {} for one in deployments if one["name"] != SHADOW)
        return {config[BUNDLE_KEY] for config in configs if BUNDLE_KEY in config}

    def swap(self, bundle: str) -> None:
        """Have every replica but the shadow take the bundle in a folder; sizes stay as they are."""

        def edit(deployment: dict[str, Any]) -> None:
            if deployment["name"] == SHADOW:
                return
            deployment["user_config"] = {**(deployment.get("user_config") or {}), BUNDLE_KEY: bundle}

        self.change(edit)

    def url(self) -> str:
        """Return where the application answers."""
        options = _http_options(self._details()) or {}
        host = options.get("host", LOOPBACK)
        if host in _EVERYWHERE:
            host = urlsplit(self.dashboard).hostname or LOOPBACK
        return f"http://[{host}]:{options['port']}" if ":" in host else f"http://{host}:{options['port']}"

    def health(self) -> tuple[bool, list[dict[str, Any]]]:
        """Return whether requests can be answered, and what each replica holds.

        Raises
        ------
        ServingError
            The application does not answer.
        """
        try:
            answer = httpx.get(f"{self.url()}/health/ready", timeout=5.0)
        except httpx.HTTPError as error:
            raise ServingError(f"the server does not answer: {str(error) or type(error).__name__}") from error
        if not answer.headers.get("content-type", "").startswith(_JSON) or "parts" not in answer.json():
            raise ServingError(f"the server is not ready: {answer.text}")
        return answer.status_code == 200, answer.json()["parts"]

    def wait_ready(self, timeout_s: float, progress: Callable[[str], None] = lambda _: None) -> None:
        """Return when requests can be answered.

        Parameters
        ----------
        progress
            Called with how many replicas run, whenever that changes.

        Raises
        ------
        ServingError
            A replica refuses its bundle, the deployments fail, or the time is over.
        """
        give_up = time.monotonic() + timeout_s
        said, counted = "no answer yet", ""
        while time.monotonic() < give_up:
            try:
                ready, parts = self.health()
                if ready:
                    return
                said = f"not every replica holds a bundle: {parts}"
            except ServingError as error:
                parts, said = [], str(error)
            _check_taken(parts)
            application = self._details()["applications"].get(APPLICATION, {})
            if application.get("status") == "DEPLOY_FAILED":
                raise ServingError(f"the deployments did not come up: {application.get('message', '').strip()}")
            if counted != (counted := _replica_counts(application)):
                progress(counted)
            time.sleep(POLL_S)
        raise ServingError(f"serving was not ready after {timeout_s:g} seconds: {said}")

    def nodes(self) -> list[Mapping[str, float]]:
        """Return what each living node of the cluster has in all, such as ``{"CPU": 4}``; empty where Ray tells not."""
        with self._asking():
            answer = self._client._do_request("GET", "/api/v0/nodes", params={"limit": 10000})
        if answer.status_code != 200:
            return []
        found = answer.json()["data"]["result"]["result"]
        return [node["resources_total"] for node in found if node["state"] == "ALIVE"]

    def metrics(self) -> list[str]:
        """Return where Prometheus reads the metrics of each node and of the dashboard."""
        with self._asking():
            answer = self._client._do_request("GET", "/api/prometheus/sd")
        found = answer.json() if answer.status_code == 200 else []
        return [f"http://{target}/metrics" for group in found for target in group.get("targets", [])]

    def remove(self) -> None:
        """Take the application away and wait until its replicas have ended, so that what they hold is written.

        What is under way is answered; Serve itself ends afterwards, if nothing else runs on it.
        """
        details = self._details()
        others = _others(details)
        # Ending Serve at once would end the proxy before the replicas have answered.
        self._put(others, _http_options(details) or {})
        give_up = time.monotonic() + _STOP_TIMEOUT_S
        while self.is_there and time.monotonic() < give_up:
            time.sleep(POLL_S)
        if not others:
            with self._asking():
                self._client.delete_applications()  # type: ignore[no-untyped-call]

    def _details(self) -> dict[str, Any]:
        with self._asking():
            details: dict[str, Any] = self._client.get_serve_details()
        return details

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Ask the dashboard in the block; it may be away for a while, as when the head starts anew."""
        try:
            yield
        except (RuntimeError, OSError) as error:
            # What requests raises of its own is an OSError.
            raise ServingError(f"the dashboard at '{self.dashboard}' does not answer: {_first_line(error)}") from error

    def _put(self, applications: Sequence[Any], options: Mapping[str, Any]) -> None:
        try:
            self._client.deploy_applications(serve_settings(applications, options))
        except (RuntimeError, OSError) as error:
            raise ServingError(f"Ray Serve refused the application: {error}") from error


def serve_settings(
    applications: Sequence[Any], options: Mapping[str, Any], proxies: Literal["HeadOnly", "EveryNode"] = "HeadOnly"
) -> dict[str, Any]:
    """Return the whole of Serve's config.

    Parameters
    ----------
    options
        ``host`` and ``port`` of HTTP.
    proxies
        Where Serve listens: on the head alone, or on each node that has replicas too. Like ``options`` it counts only
        where Serve does not run yet.
    """
    return {
        "proxy_location": proxies,
        "http_options": dict(options),
        "logging_config": {"enable_access_log": False, "encoding": "JSON"},
        "applications": list(applications),
    }


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _check_taken(parts: Sequence[Mapping[str, Any]]) -> None:
    """Give up at once where a replica could not take the bundle: it will not try again by itself."""
    for part in parts:
        if part["bundle_id"] is None and part["refused"]:
            raise ServingError(f"the {part['deployment']} could not start: {part['problem']}")


def _replica_counts(application: Mapping[str, Any]) -> str:
    """Return how many replicas of each deployment run, such as ``replicas that run: foveate_ranker 0 of 1``."""
    counts = []
    for name, deployment in application.get("deployments", {}).items():
        states = [one["state"] for one in deployment.get("replicas", [])]
        wanted = max(len(states), deployment.get("target_num_replicas") or 0)
        counts.append(f"{name} {states.count(RUNNING)} of {wanted}")
    return f"replicas that run: {', '.join(counts) or 'none yet'}"


def _others(details: Mapping[str, Any]) -> list[Any]:
    """Return the configs of the cluster's other applications: a PUT replaces all of them."""
    applications = details["applications"].items()
    configs = [one.get("deployed_app_config") for name, one in applications if name != APPLICATION]
    return [config for config in configs if config]


def _http_options(details: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the running proxies' options, which cannot be changed; None where Serve does not run yet."""
    options = details.get("http_options") or {}
    return {name: options[name] for name in ("host", "port")} if options.get("port") else None
