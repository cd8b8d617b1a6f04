"""Changing how many copies of each deployment answer, while they answer."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from foveate.core.errors import ConfigError
from foveate_serve.config import AutoscalingConfig
from foveate_serve.operations.running import POLL_S, RUNNING, Running

_FORM: Final = re.compile(
    r"(?P<name>[a-z_]+(-\d+)?)=(?P<least>\d{1,4})(\.\.(?P<most>\d{1,4})(@(?P<ongoing>\d+(\.\d+)?))?)?"
)


@dataclass(frozen=True)
class Size:
    """How many copies of a deployment are wanted; ``most`` and ``ongoing`` only where Ray Serve may choose."""

    least: int
    most: int | None = None
    ongoing: float | None = None

    def __str__(self) -> str:
        bounds = str(self.least) if self.most in (None, self.least) else f"{self.least}..{self.most}"
        return bounds + (f"@{self.ongoing:g}" if self.ongoing else "")


@dataclass(frozen=True)
class Scaled:
    """One deployment: what was wanted before, what is wanted now, and how many copies answer."""

    deployment: str
    before: Size
    now: Size
    running: int


def sizes_of(texts: Sequence[str]) -> dict[str, Size]:
    """Read what a user wants: ``ranker=4``, or ``ranker=1..4`` for Ray Serve to choose, ``ranker=1..4@8`` to aim at 8.

    Raises
    ------
    ConfigError
        One of the texts says something else, or a deployment is named twice.
    """
    sizes: dict[str, Size] = {}
    for text in texts:
        found = _FORM.fullmatch(text)
        if not found:
            raise ConfigError(
                f"'{text}' must read NAME=COUNT, such as ranker=4, or NAME=LEAST..MOST, such as ranker=1..4"
            )
        name, least, most, ongoing = found["name"], int(found["least"]), found["most"], found["ongoing"]
        if name in sizes:
            raise ConfigError(f"'{name}' is named twice")
        size = Size(least, int(most) if most else None, float(ongoing) if ongoing else None)
        if least < 1 or (size.most is not None and size.most < least) or size.ongoing == 0:
            raise ConfigError(f"'{text}': a deployment has at least one copy, and at most as many as it says")
        sizes[name] = size
    return sizes


def scale(running: Running, sizes: Mapping[str, Size], *, timeout_s: float = 60.0) -> list[Scaled]:
    """Have a running server be of these sizes, and wait until it is.

    Returns
    -------
    list of Scaled
        Every deployment, those that were not named too. What is not there yet when the time is over says so by its
        ``running``.

    Raises
    ------
    ConfigError
        There is no deployment of a name, its number is not Serve's to choose, or the cluster cannot hold so many
        copies. Nothing was changed.
    ServingError
        No server runs there, or Serve refuses the change.
    """
    deployments = {one["name"]: one for one in running.application()["deployed_app_config"]["deployments"]}
    for name in sizes:
        if name not in deployments:
            raise ConfigError(f"this server has no deployment '{name}'; it has {', '.join(deployments)}")
        _check_choice(deployments[name], sizes[name])
    before = {name: _size(one) for name, one in deployments.items()}
    _check_room(deployments, {**before, **sizes}, running.nodes())
    if sizes:
        running.change(lambda deployment: _resize(deployment, sizes.get(deployment["name"])))
    counts = _wait_for_sizes(running, {**before, **sizes}, timeout_s)
    return [Scaled(name, before[name], sizes.get(name, before[name]), counts[name]) for name in deployments]


def autoscaling_settings(config: AutoscalingConfig) -> dict[str, Any]:
    """Return Serve's own settings."""
    return {
        "min_replicas": config.least,
        "max_replicas": config.most,
        "target_ongoing_requests": config.ongoing,
    }


def _check_choice(deployment: Mapping[str, Any], size: Size) -> None:
    """Refuse to let Ray Serve choose where it did not so far: it would restart every replica for that.

    Raises
    ------
    ConfigError
        As said.
    """
    if size.most is not None and not deployment.get("autoscaling_config"):
        name = deployment["name"]
        remedy = f"serve with {name}.autoscaling.most={size.most} to change that without a restart"
        raise ConfigError(f"'{name}={size}': this server has a fixed number of copies of {name}: {remedy}")


def _size(deployment: Mapping[str, Any]) -> Size:
    scaling = deployment.get("autoscaling_config")
    if not scaling:
        return Size(int(deployment.get("num_replicas") or 1))
    return Size(scaling["min_replicas"], scaling["max_replicas"], scaling.get("target_ongoing_requests"))


def _resize(deployment: dict[str, Any], size: Size | None) -> None:
    if size is None:
        return
    known = deployment.get("autoscaling_config")
    if not known:
        deployment["num_replicas"] = size.least
        return
    # It keeps its autoscaling, within bounds that may meet: Serve restarts everything where one comes or goes.
    ongoing = size.ongoing or known["target_ongoing_requests"]
    own = autoscaling_settings(AutoscalingConfig(size.least, size.most or size.least, ongoing))
    deployment["autoscaling_config"] = {**known, **own}


def _check_room(
    deployments: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, Size], nodes: Sequence[Mapping[str, float]]
) -> None:
    """Refuse what the cluster cannot hold: Ray would wait for more for ever.

    Raises
    ------
    ConfigError
        As said.
    """
    if not nodes:
        return
    for resource, option in (("CPU", "num_cpus"), ("GPU", "num_gpus")):
        each = {name: _asked(one, option) for name, one in deployments.items()}
        there = [float(node.get(resource, 0.0)) for node in nodes]
        whole, largest = sum(there), max(there)
        asked = sum(sizes[name].least * each[name] for name in deployments)
        if asked > whole + 1e-9:
            shares = ", ".join(f"{name} {sizes[name].least} x {each[name]:g}" for name in deployments if each[name])
            raise ConfigError(f"the cluster has {whole:g} {resource}s, but {asked:g} are asked for ({shares})")
        for name in deployments:
            if each[name] > largest + 1e-9:
                raise ConfigError(f"no node has the {each[name]:g} {resource}s that a copy of {name} asks for")


def _asked(deployment: Mapping[str, Any], option: str) -> float:
    options = deployment.get("ray_actor_options") or {}
    default = 1.0 if option == "num_cpus" else 0.0
    return float(options[option]) if options.get(option) is not None else default


def _wait_for_sizes(running: Running, sizes: Mapping[str, Size], timeout_s: float) -> dict[str, int]:
    """Wait until as many copies answer as are wanted; return how many do."""
    give_up = time.monotonic() + timeout_s
    while True:
        states = running.states()
        counts = {name: states.get(name, []).count(RUNNING) for name in sizes}
        there = all(size.least <= counts[name] <= (size.most or size.least) for name, size in sizes.items())
        if there or time.monotonic() > give_up:
            return counts
        time.sleep(POLL_S)
