"""Retrieval over shards beside one process that holds every item, on the same cores in one run.

Three million items and a thousand viewers are drawn from a mixture of 1,000 clusters in 64 dimensions. One process
scores all items for a viewer and takes the best 200 that are not among the 50 that the viewer has met, on as many
threads as there are cores and with nothing to travel. Three shards of a million items are replicas of Ray Serve with
one thread each, asked at once as the retriever asks them. Both answer the same requests in turn, one at a time.

Then one shard is killed -9 while requests go on: how long each takes, what share of the catalogue it says it saw,
whether it found the best of that share, and when all are back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import serve
from ray.serve.handle import DeploymentHandle

from foveate.bundle.parts import mapped_arrays, source_file
from foveate.core.messages import Filters, RequestContext
from foveate.encoder.embedding.mapped import MappedEncoder
from foveate.retrieval.shards import Codes, Found, Shard, runs
from foveate_cluster.environment import environment
from foveate_cluster.ray_cluster import ray_cluster, usable_cpus
from foveate_serve.names import shard_name
from foveate_serve.stages.guarded import Guarded
from foveate_serve.stages.remote import RemoteSearcher
from foveate_serve.stages.scatter import Gathered, Scatter
from foveate_serve.stages.searcher import Wanted
from foveate_serve.stages.sharded import SEARCH_SHARE
from lab.shard_graph import config, graph, own_memory, warm_up, write_bundle
from retrieval_index import Vectors, mixture

SHARDS, K, DEADLINE_S = 3, 200, 2.0
LATENCY, TOLERANCE = 1.5, 1e-4
APPLICATION = "shards"
LOST_S, BACK_S = 10.0, 120.0
PATIENCE_S = 30.0
"""For the comparison, in which every shard is to answer, however busy the machine is."""
CHECKED = 50


@dataclass(frozen=True)
class Setup:
    """Both ways of retrieving, and who asks."""

    whole: Shard
    handles: Sequence[DeploymentHandle[Any]]
    viewers: Vectors
    met: Sequence[Codes]
    bundle_id: str

    @property
    def items(self) -> int:
        return len(self.whole.codes)

    def scatter(self) -> Scatter:
        """Return a retriever's view of the shards, with breakers of its own."""
        named = [(shard_name(number), handle) for number, handle in enumerate(self.handles)]
        return Scatter([Guarded(name, RemoteSearcher(name, handle)) for name, handle in named])

    def alone(self, row: int, exclude: Codes | None = None) -> Found:
        """Have the one process answer."""
        shut = self.met[row] if exclude is None else exclude
        [found] = self.whole.best(self.viewers[row : row + 1], [shut], [K])
        return found

    async def shared(self, scatter: Scatter, row: int, seconds: float) -> Gathered:
        """Have the shards answer within a time."""
        wanted = Wanted(self.viewers[row], self.met[row], K)
        context = RequestContext(str(row), 0, self.bundle_id, 0, "home", 0, Filters())
        return await scatter.best(wanted, self.items, context, seconds)

    def scores(self, row: int, codes: Codes) -> Vectors:
        """Return scores of some items, worked out by the one process."""
        every = np.setdiff1d(np.arange(self.items, dtype=np.int32), codes)
        [found] = self.whole.best(self.viewers[row : row + 1], [every], [len(codes)])
        order = np.argsort(found.codes)
        return found.scores[order][np.searchsorted(found.codes[order], codes)]


@dataclass
class Agreement:
    """How often the two find the same."""

    same_codes: int = 0
    within_tolerance: int = 0
    asked: int = 0

    def note(self, setup: Setup, row: int, expected: Found, codes: Codes) -> None:
        self.asked += 1
        same = np.array_equal(expected.codes, codes)
        self.same_codes += same
        # Rounding may let two items change places whose scores are as good as alike.
        self.within_tolerance += same or (
            len(codes) == len(expected.codes)
            and np.allclose(setup.scores(row, codes), expected.scores, rtol=TOLERANCE, atol=TOLERANCE)
        )


@dataclass
class Timed:
    """Milliseconds of each request, both ways."""

    whole: list[float] = field(default_factory=list)
    shared: list[float] = field(default_factory=list)


async def compete(setup: Setup, requests: int, warm_up: int = 20) -> tuple[Timed, Agreement]:
    """Ask both ways in turn."""
    timed, agreement, scatter = Timed(), Agreement(), setup.scatter()
    for number in range(-warm_up, requests):
        row = number % len(setup.viewers)
        began = time.perf_counter()
        expected = setup.alone(row)
        between = time.perf_counter()
        gathered = await setup.shared(scatter, row, PATIENCE_S)
        ended = time.perf_counter()
        if number >= 0:
            timed.whole.append(1e3 * (between - began))
            timed.shared.append(1e3 * (ended - between))
            agreement.note(setup, row, expected, gathered.codes if gathered.coverage == 1 else gathered.codes[:0])
        if number >= 0 and not (number + 1) % 100:
            line = f"whole {statistics.median(timed.whole):.1f} ms, shards {statistics.median(timed.shared):.1f} ms"
            print(f"{number + 1} requests: {line}", flush=True)
    return timed, agreement


@dataclass(frozen=True)
class Trouble:
    """What requests saw of the loss of a shard."""

    asked: int
    slowest_ms: float
    coverage: tuple[float, ...]
    """The shares that were told, each once."""
    rest: Agreement
    """Whether they found the best of what was left, as far as that was looked into."""
    without: int
    """How many went without the shard."""
    back_after_s: float


async def lose_one(setup: Setup, number: int) -> Trouble:
    """Kill a shard's process and go on asking, within the share of a request's time, until it is back."""
    scatter, rng = setup.scatter(), np.random.default_rng(1)
    pid, _ = await setup.handles[number].process.remote()
    lost = runs(setup.items, len(setup.handles))[number]
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    took: list[float] = []
    coverage: list[float] = []
    partial: list[tuple[int, Codes]] = []
    while time.monotonic() < began + LOST_S or (coverage[-1] < 1 and time.monotonic() < began + BACK_S):
        row = int(rng.integers(len(setup.viewers)))
        asked = time.perf_counter()
        gathered = await setup.shared(scatter, row, SEARCH_SHARE * DEADLINE_S)
        took.append(1e3 * (time.perf_counter() - asked))
        coverage.append(round(gathered.coverage, 2))
        if gathered.coverage < 1:
            back = time.monotonic() - began
            partial.append((row, gathered.codes))
    agreement = Agreement()
    for row, codes in partial[:CHECKED]:
        shut = np.union1d(setup.met[row], np.arange(lost.start, lost.stop)).astype(np.int32)
        agreement.note(setup, row, setup.alone(row, shut), codes)
    shares = tuple(sorted(set(coverage)))
    return Trouble(len(took), max(took), shares, agreement, len(partial), back if partial else 0.0)


async def measured(setup: Setup, requests: int) -> tuple[Timed, Agreement, Trouble, Agreement, list[int]]:
    memory = [(await one.process.remote())[1] for one in setup.handles]
    timed, agreement = await compete(setup, requests)
    trouble = await lose_one(setup, 1)
    _, after = await compete(setup, 50, warm_up=5)
    return timed, agreement, trouble, after, memory


def serving(folder: Path, work: Callable[[Sequence[DeploymentHandle[Any]]], Awaitable[Any]]) -> Any:
    """Serve the shards for as long as the work takes."""
    path = os.pathsep.join([str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")])
    with (
        environment({"PYTHONPATH": path, "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}),
        ray_cluster(None, least_cpus=2),
    ):
        serve.start(proxy_location="Disabled", logging_config={"enable_access_log": False})
        serve.run(graph(folder, SHARDS), name=APPLICATION, route_prefix=None)
        handles = [serve.get_deployment_handle(shard_name(number), APPLICATION) for number in range(SHARDS)]
        return asyncio.run(work(handles))  # type: ignore[arg-type] # a coroutine


def page(timed: Timed, memory: Sequence[int], alone: int, retriever: int) -> str:
    lines = ["| way | p50 | p95 | MiB for items, each process |", "|---|---:|---:|---:|"]
    for name, own, held in (
        ("one process", timed.whole, f"{alone:,}"),
        (f"{len(memory)} shards", timed.shared, ", ".join(f"{one:,}" for one in memory) + f"; who asks {retriever:,}"),
    ):
        lines.append(f"| {name} | {np.percentile(own, 50):.1f} ms | {np.percentile(own, 95):.1f} ms | {held} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000, help="of each shard")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--spread", type=float, default=0.5, help="deviation within a cluster; the centres' own is 1")
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--cores", type=int, default=usable_cpus(), help="that all of it is pinned to")
    parser.add_argument("--scratch", type=Path, help="where the vectors are written, under a folder of their own")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    torch.set_num_threads(options.cores)
    # A lost shard is a line in the log of each request.
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        asked = argparse.Namespace(**{**vars(options), "items": SHARDS * options.items, "viewers": options.queries})
        items, viewers, met = mixture(asked)
        manifest = write_bundle(Path(scratch), items)
        del items
        print(f"{manifest.items:,} items, {options.cores} cores, load {os.getloadavg()[0]:.1f}", flush=True)
        warm_up()
        before = own_memory()
        arrays = mapped_arrays(Path(scratch) / source_file(config(options.width).name))
        whole = Shard.restore(config(options.width), arrays, manifest.items, 0, 1)
        # What the process had before is not for the items: libraries, viewers.
        alone = own_memory() - before
        mapped = MappedEncoder.restore(config(options.width).encoder, arrays)
        mapped.match(torch.from_numpy(viewers[0]), met[0])
        retriever = own_memory() - before - alone

        async def work(handles: Sequence[DeploymentHandle[Any]]) -> Any:
            return await measured(Setup(whole, handles, viewers, met, manifest.bundle_id), options.queries)

        timed, agreement, trouble, after, memory = serving(Path(scratch), work)
    print(f"load {os.getloadavg()[0]:.1f}\n\n{page(timed, memory, alone, retriever)}\n")
    print(f"{agreement.same_codes} of {agreement.asked} requests have the same {K} codes in the same order")
    print(
        f"with a shard killed: {trouble.without} of {trouble.asked} requests went without it, shares told"
        f" {', '.join(f'{one:.2f}' for one in trouble.coverage)}, the last one {trouble.back_after_s:.1f} s after"
    )
    ratio = statistics.median(timed.shared) / statistics.median(timed.whole)
    figures = [
        (f"same_top_{K}", agreement.within_tolerance / agreement.asked, ">= 1"),
        ("shards_over_one_process_p50", ratio, f"<= {LATENCY:g}"),
        ("slowest_without_a_shard_over_the_deadline", trouble.slowest_ms / 1e3 / DEADLINE_S, "<= 1"),
        ("share_seen_without_a_shard", min(trouble.coverage), f">= {1 - 1 / SHARDS:.2f}"),
        ("best_of_the_rest_found", trouble.rest.within_tolerance / max(1, trouble.rest.asked), ">= 1"),
        (f"same_top_{K}_afterwards", after.within_tolerance / after.asked, ">= 1"),
    ]
    if options.json:
        ratios = [{"name": name, "value": value, "goal": goal} for name, value, goal in figures]
        result = {"ratios": ratios, "whole_ms": timed.whole, "shards_ms": timed.shared, "memory_mib": memory}
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    for name, value, goal in figures:
        print(f"ratio {name} {value:.2f} goal {goal}")


if __name__ == "__main__":
    main()
