"""Measures what serving a bundle costs on this machine: the stages in this process, the rest on a server of its own."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from threadpoolctl import threadpool_limits

from foveate._version import __version__
from foveate.bundle import Bundle, default_state
from foveate.core.errors import BundleError
from foveate.core.messages import RecommendRequest
from foveate.retrieval.index.base import VectorIndex
from foveate.retrieval.index.inverted import Inverted
from foveate.state.sqlite.store import SqliteState
from foveate_capacity.costs import Costs, Line, Lookup, Network, Point, Setting
from foveate_capacity.footprint import measure_memory
from foveate_capacity.overhead import Share, measure_server, server_costs
from foveate_capacity.timing import Asked, Timed, time_stages
from foveate_cluster.ray_cluster import usable_cpus
from foveate_serve.config import Topology

Progress = Callable[[str], None]

_SLOW: Final = 2.0
_LIBRARIES: Final = ("ray", "torch", "numpy", "lightgbm")


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Parameters
    ----------
    stages_s
        Seconds for the stages of each bundle.
    server_s
        Seconds of one client's questions to each server.
    split
        Whether the topology ``split`` is started too, for the hops.
    index_items
        Vectors of the index that is measured, and ``index_recall`` what it has to find.
    """

    stages_s: float = 12.0
    server_s: float = 6.0
    split: bool = True
    index_items: int = 200_000
    index_recall: float = 0.95


def measure(paths: Sequence[Path], effort: Effort | None = None, progress: Progress | None = None) -> Costs:
    """Measure what serving costs.

    Parameters
    ----------
    paths
        Bundles of one recipe: the server is asked by the first, and several sizes of catalogue show how costs grow.

    Raises
    ------
    BundleError
        A bundle cannot be used, or two of them have different sources.
    ServingError
        The server does not come up, or this is not Linux.
    """
    effort, say = effort or Effort(), progress or (lambda _: None)
    bundles = [Bundle.load(path) for path in paths]
    _check_alike(bundles)
    timed = []
    for bundle in bundles:
        say(f"timing the stages over {len(bundle.model.catalog):,} videos")
        timed.append(_timed(bundle, effort.stages_s))
    stages = _growth_lines(point for one in timed for point in one.stages)
    sources = _growth_lines(point for one in timed for point in one.sources)
    first, largest = bundles[0], max(bundles, key=lambda one: len(one.model.catalog))
    fused = _served(first, "fused", effort, say)
    split = _served(first, "split", effort, say) if effort.split else None
    say("weighing the bundle in memory")
    memory = measure_memory(largest, timed[-1].recorded)
    say(f"building an index of {effort.index_items:,} vectors")
    lookup = measure_lookup(memory.width, effort.index_items, effort.index_recall) if memory.width else None
    slates = fused[0]
    share, times = slowness([point for one in timed for point in one.stages])
    return Costs(
        setting=_setting(bundles),
        stages=stages,
        sources=sources,
        server=server_costs(stages, len(first.model.catalog), fused, split),
        memory=memory,
        network=Network(slates.asked, slates.answered, timed[-1].to_retriever, timed[-1].to_ranker),
        lookup=lookup,
        slow_share=share,
        slow_times=times,
        points=tuple(point for one in timed for point in (*one.stages, *one.sources)),
    )


def slowness(points: Sequence[Point]) -> tuple[float, float]:
    """Return what share of the batches is slow, and how many times as long those take.

    One in a hundred is at least as slow as the 99th percentile; where that is less than twice the median, none is.
    """
    ratios = [point.slow_seconds / point.seconds for point in points if point.seconds > 0]
    slow = [ratio for ratio in ratios if ratio >= _SLOW]
    return (0.01 * len(slow) / len(ratios), sum(slow) / len(slow)) if slow else (0.0, 1.0)


def _check_alike(bundles: Sequence[Bundle]) -> None:
    for bundle in bundles[1:]:
        if bundle.manifest.sources != bundles[0].manifest.sources:
            ours, theirs = ", ".join(bundles[0].manifest.sources), ", ".join(bundle.manifest.sources)
            raise BundleError(f"'{bundle.path}' has the sources {theirs}, the first bundle {ours}: measure one recipe")


def _timed(bundle: Bundle, seconds: float) -> Timed:
    with SqliteState(default_state(bundle.path)) as state:
        return time_stages(bundle, Asked.of(bundle, state), seconds)


def _served(bundle: Bundle, topology: Topology, effort: Effort, say: Progress) -> tuple[Share, Share]:
    state = default_state(bundle.path)
    with SqliteState(state) as viewers:
        asked = Asked.of(bundle, viewers)
    bodies = [json.dumps(_body(one)).encode() for one in asked.requests]
    return measure_server(bundle.path, state, bodies, topology=topology, seconds=effort.server_s, say=say)


def _body(request: RecommendRequest) -> dict[str, Any]:
    if request.history is None:
        return {"user_id": request.user_id, "k": request.k}
    past = [{"item_id": event.item_id} for event in request.history]
    return {"surface": request.surface, "history": past, "k": request.k}


def _growth_lines(points: Iterable[Point]) -> dict[str, Line]:
    own: dict[str, list[Point]] = {}
    for point in points:
        own.setdefault(point.stage, []).append(point)
    return {stage: fit(some) for stage, some in own.items()}


def _setting(bundles: Sequence[Bundle]) -> Setting:
    return Setting(
        machine=f"{_processor()}, {platform.system()} {platform.release()}",
        cores=usable_cpus(),
        date=datetime.now(UTC).date().isoformat(),
        versions={"foveate": __version__, "python": platform.python_version()}
        | {name: version(name) for name in _LIBRARIES},
        bundles={bundle.bundle_id: len(bundle.model.catalog) for bundle in bundles},
        simulated=any(bundle.manifest.simulated for bundle in bundles),
    )


def _processor() -> str:
    try:
        content = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in content.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


GROWTH = 0.1
"""Least share by which a request must cost more over the largest catalogue than over the smallest to count as growth:
less is noise, and drawn out to a large catalogue it would drown the rest."""


def fit(points: Sequence[Point]) -> Line:
    """Return the line nearest to the points, small and large batches counting alike.

    Growth with the catalogue is told apart only where the points are of catalogues of several sizes. Source: Lawson and
    Hanson, Solving Least Squares Problems (1974), chapter 23: least squares without negative terms.

    Parameters
    ----------
    points
        At least two, of one stage.
    """
    line = _fitted(points, growing=len({point.items for point in points}) > 1)
    if line.per_item_s is None or _grows(line, points):
        return line
    return replace(_fitted(points, growing=False), per_item_s=0.0)


def _grows(line: Line, points: Sequence[Point]) -> bool:
    few, many = min(point.items for point in points), max(point.items for point in points)
    return line.seconds(1, many) > (1 + GROWTH) * line.seconds(1, few)


def _fitted(points: Sequence[Point], *, growing: bool) -> Line:
    requests = np.array([point.requests for point in points], dtype=np.float64)
    items = np.array([point.items for point in points], dtype=np.float64)
    seconds = np.array([point.seconds for point in points], dtype=np.float64)
    columns = [np.ones_like(requests), requests]
    if growing:
        columns += [requests * items, items]
    # Divided by what was measured, a row's distance is relative.
    rows = np.stack(columns, axis=1) / seconds[:, None]
    scale = rows.max(axis=0)
    terms, distance = nnls(rows / scale, np.ones_like(seconds))
    terms /= scale
    return Line(
        fixed_s=float(terms[0]),
        per_request_s=float(terms[1]),
        per_item_s=float(terms[2]) if growing else None,
        fixed_per_item_s=float(terms[3]) if growing else 0.0,
        items=int(items.max()),
        misfit=float(distance / np.sqrt(len(seconds))),
    )


_CLUSTERS: Final = 1000
_CLUSTER_STD: Final = 0.5
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
        return np.asarray(centres[rng.integers(0, _CLUSTERS, count)] + np.float32(_CLUSTER_STD) * noise)

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
