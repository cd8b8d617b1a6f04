"""The index over item vectors, measured at a size that takes seconds to build: what a search costs and finds."""

from __future__ import annotations

import statistics
import time
from typing import Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from foveate.retrieval.index.base import VectorIndex
from foveate.retrieval.index.inverted import Inverted
from foveate_capacity.costs import Lookup

_CLUSTERS: Final = 1000
_SPREAD: Final = 0.5
"""Deviation within a cluster beside that of their centres, as trained encoders lay items out: never white noise."""
_VIEWERS: Final = 60
_FOUND: Final = 200
_NOTHING: Final = np.empty(0, dtype=np.int32)


def measure_lookup(width: int, items: int, recall: float) -> Lookup:
    """Build an index over made-up vectors, and read as few of its lists as find ``recall`` of the true best 200."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((_CLUSTERS, width), dtype=np.float32)

    def near(count: int) -> NDArray[np.float32]:
        noise = rng.standard_normal((count, width), dtype=np.float32)
        return np.asarray(centres[rng.integers(0, _CLUSTERS, count)] + np.float32(_SPREAD) * noise)

    item_ID, viewer_BD = near(items), near(_VIEWERS)
    with threadpool_limits(1):
        index = Inverted().build(item_ID, 0)
        best = [set(np.argpartition(-(item_ID @ viewer), _FOUND)[:_FOUND].tolist()) for viewer in viewer_BD]
        found, took = _searched(index, viewer_BD, best)
        while found < recall and index.probes < index.most_probes:
            index.probes = min(2 * index.probes, index.most_probes)
            found, took = _searched(index, viewer_BD, best)
    return Lookup(items, width, index.most_probes, index.probes, found, took)


def _searched(index: VectorIndex, viewer_BD: NDArray[np.float32], best: list[set[int]]) -> tuple[float, float]:
    """Return the mean recall and the median seconds of this thread's work."""
    shares, seconds = [], []
    for viewer, own in zip(viewer_BD, best, strict=True):
        began = time.thread_time()
        found = index.search(viewer, _FOUND, _NOTHING)
        seconds.append(time.thread_time() - began)
        shares.append(len(own.intersection(found.tolist())) / _FOUND)
    return statistics.fmean(shares), statistics.median(seconds)
