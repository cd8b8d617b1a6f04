"""Measured costs of serving: seconds of one core by stage, bytes of memory, bytes on the wire.

A costs file is YAML; :mod:`foveate_capacity.measure` writes it and the plan and the simulator read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from foveate.core.config import from_dict, load_yaml, to_dict
from foveate.core.errors import ConfigError

RECORD: Final = "record"
"""The writing of impressions after the reply, beside the four stages of a request."""
HANDOVER: Final = "handover"
"""What a batcher costs: to a thread and back, without the work itself."""


@dataclass(frozen=True)
class Line:
    """Seconds of one core that a batch takes over ``items`` videos.

    They are ``fixed_s + fixed_per_item_s * items + requests * (per_request_s + per_item_s * items)``.

    Parameters
    ----------
    fixed_s
        Of a batch, however many requests are in it.
    fixed_per_item_s
        Of a batch and each video of the catalogue: what reads all of them once for all requests.
    per_request_s
        Of each request, whatever the catalogue.
    per_item_s
        Of each request and video of the catalogue; None where catalogues of one size alone were measured, and
        ``per_request_s`` then holds at ``items``.
    items
        Videos of the largest catalogue that was measured.
    misfit
        Root mean square of the relative distance between the line and what was measured.
    """

    fixed_s: float
    per_request_s: float
    per_item_s: float | None = None
    fixed_per_item_s: float = 0.0
    items: int = 0
    misfit: float = 0.0

    def at(self, items: int) -> tuple[float, float]:
        """Return the fixed seconds and those of each request with a catalogue of so many videos.

        Where growth was not measured, all that a request costs is taken to grow with the catalogue, and not to shrink.
        """
        if self.per_item_s is not None:
            return self.fixed_s + self.fixed_per_item_s * items, self.per_request_s + self.per_item_s * items
        return self.fixed_s, self.per_request_s * max(1.0, items / self.items if self.items else 1.0)

    def seconds(self, requests: float, items: int) -> float:
        """Return the seconds of a batch."""
        fixed, each = self.at(items)
        return fixed + requests * each


@dataclass(frozen=True)
class Point:
    """One measurement: the median of several batches of one size, and the 99th percentile beside it."""

    stage: str
    items: int
    requests: int
    seconds: float
    slow_seconds: float


@dataclass(frozen=True)
class Server:
    """What stands around the stages, in seconds of one core a request, as measured on a running server.

    Parameters
    ----------
    ingress_s
        HTTP, parsing, checks, the answer: the process that answers, without the stages and what batchers cost.
    refused_s
        A request that is turned away; measured as one to a health page, which passes the same door.
    proxy_s
        HAProxy.
    hop_caller_s, hop_callee_s
        A call of a stage in another process, at either end; zero where only ``fused`` was measured.
    background_cores
        Cores that Ray's own processes keep busy, whatever is asked.
    """

    ingress_s: float
    refused_s: float
    proxy_s: float
    hop_caller_s: float = 0.0
    hop_callee_s: float = 0.0
    background_cores: float = 0.0


@dataclass(frozen=True)
class Memory:
    """Bytes.

    Parameters
    ----------
    per_replica
        Of a process that has loaded the libraries, before any bundle.
    per_item
        Of a bundle in memory, for each video, by what a process loads: ``all``, ``ingress``, ``retriever``, ``ranker``.
    width
        Numbers of an item vector; 0 where no source learns any.
    per_viewer, per_request
        Of the store on disk: for each viewer of 50 events, and for each slate that is recorded.
    """

    per_replica: float
    per_item: Mapping[str, float]
    width: int
    per_viewer: float
    per_request: float


@dataclass(frozen=True)
class Network:
    """Bytes of one request: HTTP in and out, and what two hops would carry."""

    asked: float
    answered: float
    to_retriever: float
    to_ranker: float


@dataclass(frozen=True)
class Lookup:
    """An inverted-lists index that was measured: one search on one core, and what it found.

    Parameters
    ----------
    items, width
        Of the vectors, drawn from a mixture of clusters.
    lists, probes
        How many there are, and how many a search reads.
    recall
        Share of the true best 200 found.
    seconds
        Of one search.
    """

    items: int
    width: int
    lists: int
    probes: int
    recall: float
    seconds: float


@dataclass(frozen=True)
class Setting:
    """Where and when it was measured, of what, and by which versions."""

    machine: str
    cores: int
    date: str
    versions: Mapping[str, str]
    bundles: Mapping[str, int]
    """Id of each bundle, with how many videos it has."""
    simulated: bool = False
    """Whether the bundles were trained on a made-up world."""


@dataclass(frozen=True)
class Costs:
    """All that was measured.

    Parameters
    ----------
    stages
        Lines of ``hydrate``, ``retrieve``, ``rank``, ``select``, ``record`` and ``handover``.
    sources
        Lines of each candidate source alone, parts of ``retrieve``.
    slow_share, slow_times
        Share of the batches that took more than twice their median, and how many times as long those took.
    points
        The measurements behind the lines.
    """

    setting: Setting
    stages: Mapping[str, Line]
    sources: Mapping[str, Line]
    server: Server
    memory: Memory
    network: Network
    lookup: Lookup | None = None
    slow_share: float = 0.0
    slow_times: float = 1.0
    points: tuple[Point, ...] = field(default=())

    @property
    def items(self) -> int:
        """Videos of the largest catalogue that was measured."""
        return max(self.setting.bundles.values())

    @property
    def grows(self) -> bool:
        """Whether catalogues of more than one size were measured."""
        return len(set(self.setting.bundles.values())) > 1


_STAGES: Final = ("hydrate", "retrieve", "rank", "select", RECORD, HANDOVER)


def read_costs(path: Path) -> Costs:
    """Read a costs file.

    Raises
    ------
    ConfigError
        It is absent, is none, or lacks a stage.
    """
    costs = from_dict(Costs, load_yaml(path), "costs")
    missing = [name for name in _STAGES if name not in costs.stages]
    if missing or not costs.setting.bundles:
        what = f"stage '{missing[0]}'" if missing else "a bundle"
        raise ConfigError(f"costs '{path}' lack {what}: measure again with foveate plan --bundle BUNDLE --costs FILE")
    return costs


def write_costs(costs: Costs, path: Path) -> None:
    """Write a costs file, in JSON, which YAML can read.

    Raises
    ------
    ConfigError
        The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(to_dict(costs), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--costs '{path}': {error.strerror}") from error
