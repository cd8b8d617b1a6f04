"""Machines for processes: the cheapest kind of node of a price table that holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from foveate.core.errors import ConfigError
from foveate_capacity.prices import Node, Prices

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
