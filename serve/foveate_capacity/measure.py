"""Measures what serving a bundle costs on this machine: the stages in this process, the rest on a server of its own."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from foveate._version import __version__
from foveate.bundle import Bundle, default_state
from foveate.core.errors import BundleError
from foveate.core.messages import RecommendRequest
from foveate.state.sqlite.store import SqliteState
from foveate_capacity.costs import Costs, Line, Network, Point, Setting
from foveate_capacity.fit import fit
from foveate_capacity.footprint import measure_memory
from foveate_capacity.lookup import measure_lookup
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
    stages = _lines(point for one in timed for point in one.stages)
    sources = _lines(point for one in timed for point in one.sources)
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


def _lines(points: Iterable[Point]) -> dict[str, Line]:
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
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
