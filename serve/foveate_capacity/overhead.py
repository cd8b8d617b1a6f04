"""Costs around the stages, measured on a server that is started for it: ingress, proxy, hops, and bytes."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from foveate.core.errors import ServingError
from foveate_capacity.costs import HANDOVER, RECORD, Line, Server
from foveate_capacity.processes import busy, descendants
from foveate_serve.app import started
from foveate_serve.config import ServeConfig, Topology
from foveate_serve.names import INGRESS, RANKER, RETRIEVER
from foveate_serve.operations.running import POLL_S, Running
from foveate_serve.stages.writer import GATHER_S

_WARM_UP: Final = 100
_PROXY, _OTHERS = "haproxy", "others"
_HEALTH: Final = "/health/live"
_REPORTED_S: Final = 60.0
_SETTLE_S: Final = 2.0
"""After a start Ray has things to do that it does only once."""


@dataclass(frozen=True)
class Share:
    """One client that asked one request after the other: seconds of a core a request, by part of the server.

    Parameters
    ----------
    parts
        Of each deployment, and of HAProxy.
    background_cores
        Cores that all other processes of the cluster kept busy.
    milliseconds
        Median from question to answer.
    asked, answered
        Bytes of a request and of its answer, headers and all.
    """

    parts: Mapping[str, float]
    background_cores: float
    milliseconds: float
    asked: float
    answered: float


def measure_server(
    bundle: Path,
    state: Path,
    bodies: Sequence[bytes],
    *,
    topology: Topology,
    seconds: float,
    say: Callable[[str], None],
) -> tuple[Share, Share]:
    """Start a server and let one client ask: for slates, and for a page of health.

    Raises
    ------
    ServingError
        The server does not come up, or this is not Linux.
    """
    config = ServeConfig(port=0, topology=topology)
    with started(bundle, state, config, progress=say) as running:
        time.sleep(_SETTLE_S)
        parts = _parts(running)
        slates = _share(running, parts, ("POST", "/v1/recommend"), bodies, seconds)
        pages = _share(running, parts, ("GET", _HEALTH), (b"",), seconds / 3)
    return slates, pages


def server_costs(
    stages: Mapping[str, Line], items: int, fused: tuple[Share, Share], split: tuple[Share, Share] | None
) -> Server:
    """Return what is left of a server's time when the stages' own is taken away.

    With one client at a time every batch is of one request.
    """
    slates, pages = fused

    def alone(*names: str) -> float:
        return sum(stages[name].seconds(1, items) for name in names)

    def written(share: Share) -> float:
        # What is answered while impressions gather is handed over and written together.
        batch = 1 + int(1e3 * GATHER_S / share.milliseconds)
        return (stages[RECORD].seconds(batch, items) + alone(HANDOVER)) / batch

    # Hydrating, retrieving and ranking are handed to a thread each, and so is writing.
    own = alone("hydrate", "retrieve", "rank", "select") + 3 * alone(HANDOVER) + written(slates)
    ingress = max(0.0, slates.parts[INGRESS] - own)
    caller = callee = 0.0
    if split is not None:
        parts = split[0].parts
        others = parts[RETRIEVER] + parts[RANKER] - alone("retrieve", "rank", "select") - 2 * alone(HANDOVER)
        callee = max(0.0, others / 2)
        own = alone("hydrate", HANDOVER) + written(split[0])
        caller = max(0.0, (parts[INGRESS] - ingress - own) / 2)
    return Server(
        ingress_s=ingress,
        refused_s=pages.parts[INGRESS],
        proxy_s=slates.parts[_PROXY],
        hop_caller_s=caller,
        hop_callee_s=callee,
        background_cores=slates.background_cores,
    )


def _parts(running: Running) -> dict[int, str]:
    """Return which deployment each process is a replica of.

    Raises
    ------
    ServingError
        Serve does not tell, though the server answers.
    """
    give_up = time.monotonic() + _REPORTED_S
    while time.monotonic() < give_up:
        deployments = running.application()["deployments"]
        replicas = [(one, name) for name, own in deployments.items() for one in own.get("replicas", ())]
        # A replica answers some time before the dashboard knows of its process.
        if replicas and all(one.get("pid") for one, _ in replicas):
            return {int(one["pid"]): name for one, name in replicas}
        time.sleep(POLL_S)
    raise ServingError(
        f"Serve does not say which processes answer, {_REPORTED_S:g} seconds after they do: measure again"
    )


def _share(
    running: Running, parts: Mapping[int, str], what: tuple[str, str], bodies: Sequence[bytes], seconds: float
) -> Share:
    where = urlsplit(running.url())
    with closing(http.client.HTTPConnection(where.hostname or "", where.port or 80, timeout=30)) as connection:
        ask = _Asking(connection, *what)
        for turn in range(_WARM_UP):
            ask(bodies[turn % len(bodies)])
        ask.clear()
        before, began = descendants(os.getpid()), time.perf_counter()
        while time.perf_counter() - began < seconds or len(ask.milliseconds) < _WARM_UP:
            ask(bodies[len(ask.milliseconds) % len(bodies)])
        took, after = time.perf_counter() - began, descendants(os.getpid())
    requests = len(ask.milliseconds)
    own = dict.fromkeys((*parts.values(), _PROXY, _OTHERS), 0.0)
    for pid, worked in busy(before, after).items():
        # HAProxy is started anew where it learns of replicas: its name tells it, not its id.
        own[parts.get(pid) or (_PROXY if after[pid].name == _PROXY else _OTHERS)] += worked
    return Share(
        parts={name: spent / requests for name, spent in own.items() if name != _OTHERS},
        background_cores=own[_OTHERS] / took,
        milliseconds=sorted(ask.milliseconds)[requests // 2],
        asked=ask.sent / requests,
        answered=ask.received / requests,
    )


class _Asking:
    """One client of HTTP that keeps its connection."""

    def __init__(self, connection: http.client.HTTPConnection, method: str, path: str) -> None:
        self._connection, self._method, self._path = connection, method, path
        self.clear()

    def clear(self) -> None:
        """Forget what was asked so far."""
        self.milliseconds: list[float] = []
        self.sent = self.received = 0

    def __call__(self, body: bytes) -> None:
        """Ask once and wait for the answer."""
        began = time.perf_counter()
        headers = {"content-type": "application/json"} if body else {}
        self._connection.request(self._method, self._path, body or None, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        self.milliseconds.append(1e3 * (time.perf_counter() - began))
        self.sent += len(self._method) + len(self._path) + len(json.dumps(headers)) + len(body)
        self.received += len(content) + sum(len(name) + len(value) + 4 for name, value in answer.getheaders())
