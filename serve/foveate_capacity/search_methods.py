"""Ways to find the nearest of many videos, and what each takes: all on a core, inverted lists, all on a GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from foveate.retrieval.attention import Attention
from foveate.retrieval.index.auto import Auto
from foveate_capacity.costs import HANDOVER, Costs, Lookup
from foveate_capacity.prices import GIB, Gpu

FLOAT: Final = 4
"""Bytes of a number."""
_CODE: Final = 8
"""Bytes of an item's code in an inverted list."""
BUNDLES: Final = 2
"""Held by each replica: the current one and the one before it."""
GPU_BATCH: Final = 32
GPU_SPEED: Final = 0.7
"""Share of the bandwidth on the data sheet that reading vectors and scores reaches: assumed, not measured."""
_GPU_MEMORY: Final = 0.9
_ATTENTION: Final = Attention.name


@dataclass(frozen=True)
class Part:
    """One part of a request: seconds of one core at a batch of one, and of each request in a full batch."""

    name: str
    alone_s: float
    full_s: float


def parts(costs: Costs, items: int, largest: int, *, exact: bool) -> list[Part]:
    """Return what a request goes through with ``items`` videos, retrieval by its sources, the costliest first.

    Parameters
    ----------
    largest
        Requests of a full batch.
    exact
        Whether the attention source scores every video; else what grows with the catalogue is left out of it.
    """
    server, own = costs.server, [Part("ingress", costs.server.ingress_s, costs.server.ingress_s)]
    handover = costs.stages[HANDOVER].at(0)
    # Hydrating, retrieving, ranking and recording are handed over.
    own.append(Part(HANDOVER, 4 * sum(handover), 4 * (handover[0] / largest + handover[1])))
    own.append(Part("proxy", server.proxy_s, server.proxy_s))
    named = {stage: line for stage, line in costs.stages.items() if stage not in ("retrieve", HANDOVER)}
    sources = {f"source {name}": line for name, line in costs.sources.items()}
    for name, line in {**named, **sources}.items():
        grown = items if exact or name != f"source {_ATTENTION}" else 0
        fixed, each = line.at(grown)
        own.append(Part(name, fixed + each, fixed / largest + each))
    return sorted((*own, _union(costs, items, largest)), key=lambda part: -part.full_s)


def _union(costs: Costs, items: int, largest: int) -> Part:
    """Return what retrieval takes beside its sources: the union of what they found, and their scores of it."""
    whole, alone = costs.stages["retrieve"].at(items), [line.at(items) for line in costs.sources.values()]
    fixed = max(0.0, whole[0] - sum(one[0] for one in alone))
    each = max(0.0, whole[1] - sum(one[1] for one in alone))
    return Part("union", fixed + each, fixed / largest + each)


def scores_all(costs: Costs, items: int) -> bool:
    """Whether the attention source scores every video by default, or looks them up."""
    return _ATTENTION not in costs.sources or costs.lookup is None or items <= Auto().exact_up_to


def lookup_s(lookup: Lookup, items: int, width: int) -> float:
    """Return the seconds of one search among ``items``: the time that was measured, by how many vectors are read.

    A search reads the centres, and as large a share of the lists as was measured; there are twice as many lists as the
    root of the number of items.
    """
    return lookup.seconds * _read(lookup, items) / _read(lookup, lookup.items) * (width / lookup.width)


def _read(lookup: Lookup, items: int) -> float:
    return 2 * math.sqrt(items) + items * lookup.probes / lookup.lists


def shard_bytes(items: float, width: int) -> float:
    """Return the memory of a shard of an index with whole vectors, for both bundles that are held."""
    return BUNDLES * items * (width * FLOAT + _CODE)


def gpu_shards(gpu: Gpu, items: int, width: int) -> int:
    """Return over how many GPUs the vectors of both bundles have to be spread."""
    room = _GPU_MEMORY * gpu.memory_gib * GIB
    # Scores of a batch take room beside the vectors.
    needed = items * (BUNDLES * width * FLOAT + GPU_BATCH * FLOAT)
    return max(1, -int(-needed // room))


def gpu_batch_s(gpu: Gpu, items: float, width: int) -> float:
    """Return the seconds of a batch on one GPU: it reads every vector once, and writes and reads every score once."""
    moved = items * FLOAT * (width + 2 * GPU_BATCH)
    return moved / (GPU_SPEED * gpu.gigabytes_a_second * 1e9)
