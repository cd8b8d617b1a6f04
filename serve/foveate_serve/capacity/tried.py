"""A plan tried in the simulator: one node of it, with all nodes up and with one lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from foveate_serve.capacity.costs import Costs
from foveate_serve.capacity.lines import Line
from foveate_serve.capacity.plan import Plan
from foveate_serve.capacity.simulate.run import simulate
from foveate_serve.capacity.simulate.scenario import Poisson, Scenario, Stragglers, Timing
from foveate_serve.capacity.simulate.tally import Result

_REQUESTS: Final = 6_000
"""About how many are simulated, for a tail to be seen."""
_LONGEST_S: Final = 30.0
_RETRIEVE, _SEARCH = "retrieve", "search"


def scenario_of(plan: Plan, costs: Costs, *, lost: int = 0, seed: int = 0) -> Scenario:
    """Return one node's part of a plan: its replicas, its share of the requests, and shards for it alone.

    Parameters
    ----------
    lost
        Nodes that are down, whose requests the others take.
    """
    front, load = plan.fleet.groups[0], plan.load
    nodes = max(1, front.nodes - lost)
    replicas = min(front.each, -(-plan.replicas // nodes))
    rate = load.qps / nodes
    seconds = min(_LONGEST_S, max(2.0, _REQUESTS / rate))
    return Scenario(
        Poisson(rate),
        _timing(plan, costs),
        replicas=replicas,
        shards=0 if plan.shards <= 1 else plan.shards,
        shard_replicas=max(1, -(-plan.shard_replicas // nodes)),
        largest_batch=load.largest_batch,
        deadline_s=load.deadline_s,
        seconds=seconds,
        warm_up_s=min(2.0, seconds / 2),
        stragglers=Stragglers(costs.slow_share, costs.slow_times),
        seed=seed,
    )


def tried(plan: Plan, costs: Costs, seed: int = 0) -> tuple[Line, ...]:
    """Simulate a node of the plan, and the same node when another one is lost."""
    return (
        *_lines("", simulate(scenario_of(plan, costs, seed=seed))),
        *_lines(", one node lost", simulate(scenario_of(plan, costs, lost=1, seed=seed))),
    )


def _timing(plan: Plan, costs: Costs) -> Timing:
    timing = Timing.of(costs, plan.load.items)
    if not plan.search_s:
        return timing
    # What the attention source takes to score every video falls away; its shards are asked instead.
    own, grown = costs.sources["attention"].at(0), costs.sources["attention"].at(plan.load.items)
    fixed, each = timing.stages[_RETRIEVE]
    less = (max(0.0, fixed - grown[0] + own[0]), max(0.0, each - grown[1] + own[1]))
    return replace(timing, stages={**timing.stages, _RETRIEVE: less, _SEARCH: plan.search_s})


def _lines(when: str, result: Result) -> tuple[Line, ...]:
    about = f"simulated{when}"
    lost = result.turned_away + result.failed
    stage, busiest = max(result.stages.items(), key=lambda one: one[1].utilisation)
    batch = f"mean batch of {stage} {busiest.mean_batch:.1f}"
    return (
        Line(about, "p50", result.p50_ms, "ms", "simulated", "one node, Poisson arrivals"),
        Line(about, "p99", result.p99_ms, "ms", "simulated", batch),
        Line(about, "replicas busy", 100 * result.busy["ingress"], "%", "simulated", "of a core each"),
        Line(about, "degraded", 100 * result.degraded, "%", "simulated", "a stage was late"),
        Line(about, "not answered", 100 * lost, "%", "simulated", "turned away or failed"),
    )
