"""Foveate's server beside what it stands on and what one would write instead, on one machine in one run.

Both topologies are asked over HTTP for slates of 20 out of about 200 candidates of 10,000 videos, for viewers of 50
events. ``fused`` runs beside an empty Serve graph of its shape, the leanest application over the same stages (uvicorn,
one worker a core), and the naive one (FastAPI, one request at a time, one worker a core); ``split`` beside an empty
graph of its shape and the shape of Ray's published recommendation benchmark. All of a block stay up and are asked in
turn, round after round; a figure is the median over the rounds. The load comes from this process, on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from foveate_cluster.ray_cluster import ray_cluster, usable_cpus
from foveate_serve.app import start
from foveate_serve.config import DeploymentConfig, ServeConfig
from lab.batches import compute_ms, idle_wait_ms, mean_batch
from lab.load import Answers, closed, opened
from lab.rivals import BUNDLE_VARIABLE
from lab.serving_world import SLATE, World, serving_world

BENCH = Path(__file__).resolve().parent
CLIENTS = 32
GOALS = {
    "fused, requests/s over lean": (0.8, "at least"),
    "fused, requests/s over naive": (1.3, "at least"),
    "fused, p50 of one client over lean": (1.4, "at most"),
    "fused, p99 at 70 % load over p50": (5.0, "at most"),
    "fused, requests/s over its empty graph": (0.6, "at least"),
    "split, requests/s over its empty graph": (0.6, "at least"),
    "split, p50 of one client over its empty graph's and 1.3 times the stages' own": (1.0, "at most"),
    "wait of an idle batcher, ms": (0.5, "at most"),
    "mean batch of a replica, 16 clients each": (4.0, "at least"),
    "goodput at 3 times the peak load, over the peak": (0.85, "at least"),
    "failed in the seconds after it": (0.0, "at most"),
}


@dataclass
class Contestant:
    """One server that is asked, and what came of each round."""

    name: str
    url: str
    peaks: list[float] = field(default_factory=list)
    """Good answers a second of 32 clients."""
    alone_ms: list[float] = field(default_factory=list)
    """Median milliseconds of one client."""
    loaded: list[Answers] = field(default_factory=list)
    """At 70 % of its peak, arrivals at a constant rate."""
    failed: int = 0
    before_and_after: list[float] = field(default_factory=list)
    """Its peak right before and right after it is asked far too much: a machine has better and worse minutes."""
    overloaded: Answers | None = None
    """At three times the first of these."""
    afterwards: Answers | None = None
    """At half of its peak, from five seconds after that on."""

    @property
    def peak(self) -> float:
        return statistics.median(self.peaks)

    @property
    def alone(self) -> float:
        return statistics.median(self.alone_ms)


def bodies(world: World) -> list[bytes]:
    return [json.dumps({"user_id": user, "k": SLATE}).encode() for user in world.users]


def compete(contestants: Sequence[Contestant], asks: Sequence[bytes], rounds: int, seconds: float) -> None:
    """Ask all in turn, round after round, after a warm-up."""
    for one in contestants:
        asyncio.run(closed(one.url, asks, CLIENTS, seconds / 2))
    for number in range(1, rounds + 1):
        for one in contestants:
            many = asyncio.run(closed(one.url, asks, CLIENTS, seconds))
            single = asyncio.run(closed(one.url, asks, 1, seconds / 2))
            one.peaks.append(many.per_second)
            one.alone_ms.append(single.percentile(50))
            one.failed += sum(n for a in (many, single) for status, n in a.statuses.items() if status != 200)
            print(
                f"round {number}: {one.name:<22} {many.per_second:7.0f} requests/s of {CLIENTS} clients, "
                f"one client {single.percentile(50):6.2f} ms",
                flush=True,
            )
    for one in contestants:
        one.loaded.append(asyncio.run(opened(one.url, asks, 0.7 * one.peak, 2 * seconds)))


def overload(one: Contestant, asks: Sequence[bytes], seconds: float) -> None:
    """Ask far more than can be answered, and then see whether all is well again."""
    one.before_and_after.append(asyncio.run(closed(one.url, asks, CLIENTS, seconds / 3)).per_second)
    one.overloaded = asyncio.run(opened(one.url, asks, 3 * one.before_and_after[0], seconds))
    time.sleep(5.0)
    one.afterwards = asyncio.run(opened(one.url, asks, 0.5 * one.before_and_after[0], 5.0))
    one.before_and_after.append(asyncio.run(closed(one.url, asks, CLIENTS, seconds / 3)).per_second)
    before, after = one.before_and_after
    print(
        f"{one.name} at 3 times its peak ({before:.0f} requests/s before, {after:.0f} after): "
        f"{one.overloaded.statuses}, afterwards {one.afterwards.statuses}",
        flush=True,
    )


@contextmanager
def worker(application: str, world: World, port: int) -> Iterator[str]:
    """Run a rival under uvicorn, one worker a core."""
    command = [sys.executable, "-m", "uvicorn", f"lab.rivals:{application}", "--factory", "--port", str(port)]
    options = ["--workers", str(usable_cpus()), "--log-level", "warning", "--no-access-log"]
    environment = {**os.environ, BUNDLE_VARIABLE: str(world.bundle), "PYTHONPATH": _path(), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, *options], env=environment, cwd=BENCH)
    try:
        yield _answering(f"http://127.0.0.1:{port}/v1/recommend")
    finally:
        process.terminate()
        process.wait(20)


def _path() -> str:
    return os.pathsep.join([str(BENCH), os.environ.get("PYTHONPATH", "")])


def _answering(url: str) -> str:
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        try:
            if httpx.post(url, json={"user_id": "viewer 0", "k": SLATE}, timeout=10).status_code == 200:
                return url
        except httpx.HTTPError:
            time.sleep(0.2)
    raise RuntimeError(f"nothing answers at {url}")


def beside(url: str, graphs: Mapping[str, int]) -> dict[str, str]:
    """Deploy empty graphs, each with so many fronts, beside the application; return their addresses."""
    with ray_cluster(None) as dashboard:
        assert dashboard
        client = ServeSubmissionClient(dashboard)
    details = client.get_serve_details()
    running = [one["deployed_app_config"] for one in details["applications"].values()]
    more = [
        {
            "name": name,
            "route_prefix": f"/{name}",
            "import_path": f"lab.empty_graph:{name}",
            "args": {"replicas": fronts},
            "runtime_env": {"env_vars": {"PYTHONPATH": _path()}},
        }
        for name, fronts in graphs.items()
    ]
    options = {key: details["http_options"][key] for key in ("host", "port")}
    client.deploy_applications({"http_options": options, "applications": [*running, *more]})
    return {name: _answering(f"{url}/{name}") for name in graphs}


def block(
    world: World, topology: str, graphs: Mapping[str, int], rivals: Sequence[str], options: Any
) -> list[Contestant]:
    """Serve by one topology and let all of the block compete."""
    cores = usable_cpus()
    size = DeploymentConfig(replicas=cores if topology == "fused" else 1, cpus=0.25)
    config = ServeConfig(port=0, topology=topology, ingress=size)  # type: ignore[arg-type]
    with ExitStack() as stack:
        url = stack.enter_context(start(world.bundle, world.state, config, progress=print))
        contestants = [Contestant(topology, f"{url}/v1/recommend")]
        contestants += [Contestant(f"empty {name}", at) for name, at in beside(url, graphs).items()]
        for number, name in enumerate(rivals):
            at = stack.enter_context(worker(name, world, options.port + number))
            contestants.append(Contestant(name, at))
        compete(contestants, bodies(world), options.rounds, options.seconds)
        if topology == "fused":
            overload(contestants[0], bodies(world), options.overload)
    return contestants


def ratios(found: Mapping[str, Contestant], world: World) -> dict[str, float]:
    """Return what is claimed."""
    fused, split = found["fused"], found["split"]
    assert fused.overloaded
    assert fused.afterwards
    allowed = found["empty split"].alone + 1.3 * compute_ms(world)
    bad = [count for status, count in fused.afterwards.statuses.items() if status != 200]
    return {
        "fused, requests/s over lean": fused.peak / found["lean"].peak,
        "fused, requests/s over naive": fused.peak / found["naive"].peak,
        "fused, p50 of one client over lean": fused.alone / found["lean"].alone,
        "fused, p99 at 70 % load over p50": fused.loaded[0].percentile(99) / fused.loaded[0].percentile(50),
        "fused, requests/s over its empty graph": fused.peak / found["empty fused"].peak,
        "split, requests/s over its empty graph": split.peak / found["empty split"].peak,
        "split, p50 of one client over its empty graph's and 1.3 times the stages' own": split.alone / allowed,
        "wait of an idle batcher, ms": idle_wait_ms(),
        "mean batch of a replica, 16 clients each": mean_batch(world, CLIENTS // 2),
        "goodput at 3 times the peak load, over the peak": fused.overloaded.per_second
        / statistics.fmean(fused.before_and_after),
        "failed in the seconds after it": float(sum(bad)),
    }


def page(found: Mapping[str, Contestant], claims: Mapping[str, float]) -> str:
    lines = [
        f"| server | requests/s, {CLIENTS} clients | p50, one client | p50 at 70 % load | p99 | failed |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for one in found.values():
        at = one.loaded[0]
        lines.append(
            f"| {one.name} | {one.peak:,.0f} ({min(one.peaks):,.0f} to {max(one.peaks):,.0f}) | {one.alone:.2f} ms "
            f"| {at.percentile(50):.2f} ms | {at.percentile(99):.2f} ms | {one.failed} |"
        )
    lines += ["", "| ratio | measured | goal |", "|---|---:|---:|"]
    for name, value in claims.items():
        goal, side = GOALS[name]
        lines.append(f"| {name} | {value:.2f} | {side} {goal:g} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, help="keep the served world here, for the next run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--overload", type=float, default=30.0, help="seconds at three times the peak load")
    parser.add_argument("--port", type=int, default=8971, help="of the first rival; the next take the following")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        world = serving_world(options.scratch or Path(scratch))
        fused = block(world, "fused", {"fused": usable_cpus()}, ["lean", "naive"], options)
        split = block(world, "split", {"split": 1, "published": 2}, [], options)
    found = {one.name: one for one in (*fused, *split)}
    claims = ratios(found, world)
    print(page(found, claims))
    if options.json:
        figures = {name: {"peaks": one.peaks, "alone_ms": one.alone_ms} for name, one in found.items()}
        options.json.write_text(json.dumps({"contestants": figures, "claims": claims}, indent=1) + "\n")


if __name__ == "__main__":
    main()
