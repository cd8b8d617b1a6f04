"""The simulator of the serving graph beside the server itself, on one machine, with costs measured in the same run.

First what ``foveate plan --bundle`` measures: the stages over 10,000 and over 100,000 videos on one core, and what
stands around them, with one client asking. From that alone the simulator foretells what the fused server, one replica a
core, does for 1, 8, 16 and 32 clients, and at 50 and 70 % of its peak with arrivals at a constant rate. Then the server
is asked. The load comes from this process, on the same cores, and HAProxy and Ray are on them too: what each takes of
them is measured, and simulated.

It takes under five minutes once both worlds are there (``--scratch`` keeps them).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foveate.data.world.config import SimulateConfig
from foveate_capacity.costs import Costs, read_costs, write_costs
from foveate_capacity.measure import Effort, measure
from foveate_capacity.processes import busy, descendants, machine_busy
from foveate_capacity.simulator.scenario import Arrivals, Closed, Scenario, Steady, Stragglers, Timing
from foveate_capacity.simulator.simulated_service import simulate
from foveate_cluster.ray_cluster import usable_cpus
from foveate_serve.app import start
from foveate_serve.config import DeploymentConfig, ServeConfig
from lab.load import Answers, closed, opened
from lab.serving_world import SLATE, VIDEOS, World, serving_world

CLIENTS = (1, 8, 16, 32)
SHARES = (0.5, 0.7)
WITHIN = 20.0
"""Per cent that throughput and median may be apart."""
GROWN = 100_000
QUIET = 0.1
"""Cores that others may keep busy for the comparison to mean anything."""


@dataclass(frozen=True)
class Compared:
    """One load, measured and simulated.

    Good answers a second, median and 99th percentile in milliseconds, and the milliseconds of a core that a request
    takes of server, proxy, Ray and load generator together: that alone can be compared where others are at work too.
    """

    load: str
    measured: tuple[float, float, float, float]
    simulated: tuple[float, float, float, float]
    others: float
    """Cores that processes of others kept busy meanwhile."""

    @property
    def apart(self) -> tuple[float, ...]:
        """How far the simulated lies from the measured, in per cent."""
        return tuple(100 * (s / m - 1) for m, s in zip(self.measured, self.simulated, strict=True))


@dataclass(frozen=True)
class Load:
    """What came of one load, and how many cores it and others kept busy meanwhile."""

    answers: Answers
    ours: float
    others: float

    @property
    def figures(self) -> tuple[float, float, float, float]:
        own = self.answers
        return own.per_second, own.percentile(50), own.percentile(99), 1e3 * self.ours / own.per_second


def watched(load: Coroutine[Any, Any, Answers]) -> Load:
    """Let a load run, and see what else was at work on this machine."""
    before, machine, own, began = descendants(os.getpid()), machine_busy(), time.process_time(), time.perf_counter()
    answers = asyncio.run(load)
    ours = sum(busy(before, descendants(os.getpid())).values()) + time.process_time() - own
    took = time.perf_counter() - began
    return Load(answers, ours / took, max(0.0, machine_busy() - machine - ours) / took)


def ask_all(world: World, config: ServeConfig, rounds: int, seconds: float) -> tuple[dict[str, Load], float, float]:
    """Ask a server of one replica a core; also the seconds that this process takes for a request, and the peak."""
    asks = [json.dumps({"user_id": user, "k": SLATE}).encode() for user in world.users]
    found: dict[str, list[Load]] = {}
    with start(world.bundle, world.state, config, progress=print) as base:
        url = f"{base}/v1/recommend"
        asyncio.run(closed(url, asks, 8, seconds / 2))
        began = time.process_time()
        warm = asyncio.run(closed(url, asks, 8, seconds))
        client_s = (time.process_time() - began) / len(warm.latencies_ms)
        for _ in range(rounds):
            for clients in CLIENTS:
                name = _name(clients)
                found.setdefault(name, []).append(watched(closed(url, asks, clients, seconds)))
        peak = statistics.median(one.answers.per_second for one in found[_name(CLIENTS[-1])])
        for share in SHARES:
            found[f"{100 * share:.0f} % of the peak"] = [watched(opened(url, asks, share * peak, 2 * seconds))]
    return {name: _middle(some) for name, some in found.items()}, client_s, peak


def _name(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


def _middle(some: Sequence[Load]) -> Load:
    """Return the round in the middle by its throughput."""
    return sorted(some, key=lambda one: one.answers.per_second)[len(some) // 2]


def foretold(
    costs: Costs, arrivals: Arrivals, config: ServeConfig, client_s: float
) -> tuple[float, float, float, float]:
    scenario = Scenario(
        arrivals,
        Timing.of(costs, VIDEOS, client_s),
        replicas=config.ingress.replicas,
        cores=usable_cpus(),
        largest_batch=config.largest_batch,
        deadline_s=config.deadline_ms / 1e3,
        max_ongoing=config.ingress.max_ongoing_requests,
        stragglers=Stragglers(costs.slow_share, costs.slow_times),
    )
    result = simulate(scenario)
    ours = sum(share * (scenario.replicas if part == "ingress" else 1) for part, share in result.busy.items())
    return result.per_second, result.p50_ms, result.p99_ms, 1e3 * ours / result.per_second


def compare(costs: Costs, world: World, options: argparse.Namespace) -> tuple[list[Compared], float]:
    cores = usable_cpus()
    config = ServeConfig(port=0, topology="fused", ingress=DeploymentConfig(replicas=cores, cpus=0.25))
    answers, client_s, peak = ask_all(world, config, options.rounds, options.seconds)
    arrivals: list[Arrivals] = [Closed(clients) for clients in CLIENTS]
    arrivals += [Steady(share * peak) for share in SHARES]
    rows = []
    for (name, measured_load), coming in zip(answers.items(), arrivals, strict=True):
        rows.append(
            Compared(name, measured_load.figures, foretold(costs, coming, config, client_s), measured_load.others)
        )
    return rows, client_s


def page(rows: Sequence[Compared], costs: Costs, client_s: float) -> str:
    server = costs.server
    lines = [
        f"{costs.setting.machine}, {costs.setting.cores} cores, {costs.setting.date}",
        f"ms of a core a request: ingress {1e3 * server.ingress_s:.2f}, HAProxy {1e3 * server.proxy_s:.2f}, "
        f"load generator {1e3 * client_s:.2f}; Ray keeps {server.background_cores:.2f} cores busy",
        f"cores that others kept busy meanwhile: {max(row.others for row in rows):.2f} at most",
        "",
        "| load | requests/s, measured | simulated | apart | p50 ms, measured | simulated | apart "
        "| p99 ms, measured | simulated | ms of a core, measured | simulated | apart |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        (rate, p50, p99, work), (rate_s, p50_s, p99_s, work_s) = row.measured, row.simulated
        rate_a, p50_a, _, work_a = row.apart
        lines.append(
            f"| {row.load} | {rate:.0f} | {rate_s:.0f} | {rate_a:+.0f} % | {p50:.1f} | {p50_s:.1f} | {p50_a:+.0f} % "
            f"| {p99:.1f} | {p99_s:.1f} | {work:.2f} | {work_s:.2f} | {work_a:+.0f} % |"
        )
    worst = [max(abs(row.apart[figure]) for row in rows) for figure in (0, 1, 3)]
    lines += ["", "| ratio | measured | goal |", "|---|---:|---:|"]
    for name, value in zip(("throughput", "p50", "time of a core"), worst, strict=True):
        lines.append(f"| {name}, simulated and measured apart at most, % | {value:.1f} | at most {WITHIN:g} |")
    if max(row.others for row in rows) > QUIET:
        lines.append("\nOthers were at work on this machine, of whom the simulator knows nothing: measure again.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, help="keep the worlds here, for the next run")
    parser.add_argument("--costs", type=Path, help="use the costs in this file; they are measured, and kept, if absent")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.scratch or Path(scratch)
        world = serving_world(folder)
        if options.costs and options.costs.exists():
            costs = read_costs(options.costs)
        else:
            grown = serving_world(folder / "grown", SimulateConfig(viewers=300, items=GROWN, days=7, seed=0))
            costs = measure([world.bundle, grown.bundle], Effort(stages_s=10.0), progress=print)
            if options.costs:
                write_costs(costs, options.costs)
        rows, client_s = compare(costs, world, options)
    print(page(rows, costs, client_s))
    if options.json:
        figures = {"rows": [asdict(row) for row in rows], "client_s": client_s, "setting": asdict(costs.setting)}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
