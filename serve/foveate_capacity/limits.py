"""Where a part gives out, however many replicas there are."""

from __future__ import annotations

import math
from typing import Final

from foveate_capacity.costs import RECORD, Costs
from foveate_capacity.fleet import USABLE
from foveate_capacity.prices import GIB, Prices
from foveate_capacity.queueing import Line, Load
from foveate_capacity.search_methods import BUNDLES, parts
from foveate_serve.config import RETRIEVAL_SHARE

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
