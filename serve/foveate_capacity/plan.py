"""A plan: how many replicas, machines and GPUs a load takes, and what they cost a month."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from foveate.core.errors import ConfigError
from foveate_capacity.costs import RECORD, Costs
from foveate_capacity.prices import GIB, Node, Prices
from foveate_capacity.queueing import How, Line, Load
from foveate_capacity.search_methods import BUNDLES, FLOAT, Part, parts, shard_bytes
from foveate_capacity.worker_groups import Way, WorkerGroup, worker_groups
from foveate_serve.config import RETRIEVAL_SHARE

USABLE: Final = 0.9
"""Share of a node's memory that replicas may take; the rest is the system's, and Ray's."""


@dataclass(frozen=True)
class Unit:
    """Processes of one kind: how many, and GiB of memory of each. Each takes a core."""

    name: str
    count: int
    memory_gib: float


@dataclass(frozen=True)
class Group:
    """Nodes of one kind for the units of one name."""

    unit: str
    kind: str
    each: int
    """Units that a node holds."""
    nodes: int
    """With one spare."""
    hourly: float


@dataclass(frozen=True)
class Fleet:
    """All nodes."""

    groups: tuple[Group, ...]

    @property
    def hourly(self) -> float:
        """The price of an hour."""
        return sum(group.nodes * group.hourly for group in self.groups)

    def spare(self, unit: str) -> float:
        """Return by how many times the nodes of a unit are more than it needs."""
        [nodes] = [group.nodes for group in self.groups if group.unit == unit]
        return nodes / (nodes - 1)


def fleet_of(units: Sequence[Unit], prices: Prices) -> Fleet:
    """Place units on nodes of the kind that is cheapest for them, with one node spare for each.

    Raises
    ------
    ConfigError
        No kind of node holds a unit.
    """
    return Fleet(tuple(_cheapest(unit, prices) for unit in units))


def _cheapest(unit: Unit, prices: Prices) -> Group:
    fits = [_group(unit, kind, node) for kind, node in prices.nodes.items() if _held(unit, node)]
    if not fits:
        most = max(node.memory_gib for node in prices.nodes.values())
        raise ConfigError(
            f"each of the {unit.name} takes {unit.memory_gib:,.0f} GiB, and the largest node of the price table has"
            f" {most:,.0f}: plan fewer --items, or name larger nodes by --prices"
        )
    return min(fits, key=lambda group: group.nodes * group.hourly)


def _held(unit: Unit, node: Node) -> int:
    return min(node.cores, int(USABLE * node.memory_gib // unit.memory_gib))


def _group(unit: Unit, kind: str, node: Node) -> Group:
    each = _held(unit, node)
    return Group(unit.name, kind, each, math.ceil(unit.count / each) + 1, node.hourly)


_FOUND: Final = 200
"""Candidates that a shard sends back, with code and score each."""
_DAY_S: Final = 86_400


@dataclass(frozen=True)
class Plan:
    """What a load takes.

    Parameters
    ----------
    parts
        What a request goes through, the costliest first.
    fleet
        The machines.
    replicas
        Processes of each deployment, each on a core; ``shard`` stands for the replicas of all shards.
    shards
        Parts that the videos' vectors are cut into; 0 for none.
    search_s
        Seconds that a shard takes for a batch and for each request in it; None without shards.
    rows
        All figures.
    notes
        What they rest on.
    """

    load: Load
    parts: tuple[Part, ...]
    fleet: Fleet
    replicas: Mapping[str, int]
    shards: int
    search_s: tuple[float, float] | None
    rows: tuple[Line, ...]
    notes: tuple[str, ...]

    @property
    def monthly(self) -> float:
        """The cost a month, in the price table's currency."""
        return next(line.value for line in self.rows if line.what == "cost")

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "lines": [vars(line) for line in self.rows],
            "parts": [vars(part) for part in self.parts],
            "notes": list(self.notes),
        }


def plan(load: Load, costs: Costs, prices: Prices) -> Plan:
    """Plan for a load.

    Raises
    ------
    ConfigError
        A request cannot be answered before its deadline, no node of the table holds a replica, or the GPU is unknown.
    """
    way = Way.of(load, costs, prices)
    own = parts(costs, load.items, load.largest_batch, exact=way.exact)
    _check_in_time(load, own, way)
    groups = worker_groups(costs, own, load, way)
    units = [Unit(group.name, group.count(load), group.memory(costs, load.items) / GIB) for group in groups]
    fleet = fleet_of(units, prices)
    rows = (
        *_work(load, costs, own, groups, way),
        *limits(load, costs, prices, exact=way.exact),
        *_machines(load, costs, units, fleet, way),
        *_store(load, costs, way),
        _cost(fleet, way, prices),
    )
    replicas = {unit.name: unit.count for unit in units}
    return Plan(load, tuple(own), fleet, replicas, way.shards, way.search_s, rows, _notes(load, costs, prices))


def _check_in_time(load: Load, own: list[Part], way: Way) -> None:
    alone = sum(part.alone_s for part in own) + way.alone_s
    if alone < load.deadline_s:
        return
    most = max(own, key=lambda part: part.alone_s)
    raise ConfigError(
        f"a request over {load.items:,} videos takes {alone:.2f} s even when it comes alone, and has"
        f" {load.deadline_s:g} s: most of it is '{most.name}' with {most.alone_s:.2f} s: leave that out of the recipe,"
        " or plan fewer --items"
    )


def _notes(load: Load, costs: Costs, prices: Prices) -> tuple[str, ...]:
    setting = costs.setting
    sizes = ", ".join(f"{items:,}" for items in sorted(setting.bundles.values()))
    world = " of a simulated world" if setting.simulated else ""
    misfit = max(line.misfit for line in costs.stages.values())
    notes = [
        f"measured on {setting.machine}, {setting.cores} cores, {setting.date}, on bundles of {sizes} videos{world};"
        f" lines and points are at most {100 * misfit:.0f} % apart",
        f"planned for {100 * load.utilisation:g} % of what replicas can do at most, with one node of each kind lost",
        f"prices of {prices.date}, assumed: {'; '.join(prices.assumed.values())}",
    ]
    if load.items > costs.items:
        growth = "growth as measured, drawn out" if costs.grows else "one size was measured: all costs taken to grow"
        notes.append(f"{load.items / costs.items:,.0f} times the largest catalogue that was measured: {growth}")
    return tuple(notes)


def _work(load: Load, costs: Costs, own: list[Part], groups: Sequence[WorkerGroup], way: Way) -> list[Line]:
    how: How = "calculated" if load.items > costs.items else "measured"
    rows = [Line("a request", part.name, 1e3 * part.full_s, "ms of a core", how, "in a full batch") for part in own]
    rows += [
        Line(
            "a request",
            f"one {group.name} replica",
            1 / group.full_s,
            "requests/s",
            "calculated",
            "at most, on one core",
        )
        for group in groups
    ]
    if load.gpu:
        on = f"{load.gpu}, by its bandwidth"
        rows.append(Line("a request", "a batch of 32", 1e3 * way.alone_s, "ms of a GPU", "calculated", on))
    return rows


def _machines(load: Load, costs: Costs, units: list[Unit], fleet: Fleet, way: Way) -> list[Line]:
    memory, about = costs.memory, "machines"
    vectors = memory.width * FLOAT
    rest = load.items * max(0.0, memory.per_item["all"] - vectors) / GIB
    rows = [
        Line(about, "item vectors", load.items * vectors / GIB, "GiB", "calculated", "items x width x 4 bytes"),
        Line(about, "all else of a bundle", rest, "GiB", "calculated", "bytes a video, as measured"),
    ]
    if way.shards:
        index = shard_bytes(load.items, memory.width) / BUNDLES / GIB
        rows.append(Line(about, "index", index, "GiB", "calculated", "whole vectors and their codes"))
        rows.append(Line(about, "shards of the items", way.shards, "", "calculated", "of both bundles that are held"))
    for unit in units:
        why = f"{unit.memory_gib:.1f} GiB each, with two bundles"
        rows.append(Line(about, f"{unit.name} replicas", unit.count, "", "calculated", why))
    for group in fleet.groups:
        why = f"{group.each} each, one node spare"
        rows.append(Line(about, f"nodes for {group.unit}", group.nodes, group.kind, "calculated", why))
    spare = "one group of shards spare" if way.gpus else ""
    rows.append(Line(about, "GPUs", way.gpus, load.gpu, "calculated", spare))
    return rows


def _store(load: Load, costs: Costs, way: Way) -> list[Line]:
    memory, network, about = costs.memory, costs.network, "store and network"
    http, shards = network.asked + network.answered, way.shards * (memory.width * FLOAT + _FOUND * 2 * FLOAT)
    kept, recorded = load.viewers * memory.per_viewer / GIB, load.qps * memory.per_request * _DAY_S / GIB
    return [
        Line(about, "histories", kept, "GiB", "calculated", "viewers of 50 events"),
        Line(about, "slates recorded", recorded, "GiB a day", "calculated", "every one, with its features"),
        Line(about, "HTTP", http, "bytes a request", "measured"),
        Line(about, "to shards", shards, "bytes a request", "calculated", "a vector out, 200 codes and scores back"),
        Line(about, "network", load.qps * (http + shards) * 8 / 1e9, "Gbit/s", "calculated"),
    ]


def _cost(fleet: Fleet, way: Way, prices: Prices) -> Line:
    hourly = fleet.hourly + way.gpus * way.gpu_hourly
    unit = f"{prices.currency} a month"
    return Line("cost", "cost", hourly * prices.hours_a_month, unit, "calculated", "at assumed prices")


_PROXY_THREADS: Final = 4
"""Of HAProxy, which runs on the head node alone."""
_ABOUT: Final = "gives out at"
_MOST: Final = 1e12


def limits(load: Load, costs: Costs, prices: Prices, *, exact: bool) -> list[Line]:
    """Return at what load, or with how many videos, each part gives out that more replicas do not help."""
    _, recorded = costs.stages[RECORD].at(costs.items)
    largest = max(prices.nodes.values(), key=lambda node: node.memory_gib)
    each = BUNDLES * costs.memory.per_item["all"]
    room = (USABLE * largest.memory_gib * GIB - costs.memory.per_replica) / each if each else math.inf
    found: list[tuple[float, str, str]] = [
        (_PROXY_THREADS / max(costs.server.proxy_s, 1e-9), "requests/s", "one HAProxy, 4 threads, on the head node"),
        (1 / max(recorded, 1e-9), "requests/s", "one writer of the one SQLite file that records slates"),
        (_in_time(load, costs, exact=exact), "videos", "a request alone is late for retrieval's deadline"),
        (room, "videos", f"one replica with two bundles fills a node of {largest.memory_gib:,.0f} GiB"),
    ]
    named = zip(("proxy", "store", "deadline", "memory"), found, strict=True)
    # What never gives out is not worth a line.
    return [Line(_ABOUT, name, at, unit, "calculated", why) for name, (at, unit, why) in named if at < _MOST]


def _in_time(load: Load, costs: Costs, *, exact: bool) -> float:
    """Return the most videos with which a request that comes alone is retrieved for in time."""
    due = RETRIEVAL_SHARE * load.deadline_s

    def late(items: int) -> bool:
        own = parts(costs, items, load.largest_batch, exact=exact)
        return sum(part.alone_s for part in own if part.name not in (RECORD, "rank", "select", "proxy")) > due

    low, high = 1, 2
    while not late(high):
        low, high = high, 2 * high
        if low > _MOST:
            return math.inf
    while high - low > max(1, low // 1000):
        middle = (low + high) // 2
        low, high = (low, middle) if late(middle) else (middle, high)
    return float(low)
