"""A plan tried in the simulator: a cell of it, with all nodes up and with one of each kind lost."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from foveate_capacity.costs import Costs
from foveate_capacity.plan import Plan
from foveate_capacity.queueing import Line
from foveate_capacity.simulator.scenario import Poisson, Scenario, Stragglers, Timing
from foveate_capacity.simulator.simulated_service import simulate
from foveate_capacity.simulator.tally import Result
from foveate_capacity.worker_groups import FUSED, SHARD
from foveate_serve.names import INGRESS, RANKER, RETRIEVER

_REQUESTS: Final = 6_000
"""About how many are simulated, for a tail to be seen."""
_LONGEST_S: Final = 30.0
_CELL: Final = 2_000.0
_RETRIEVE, _SEARCH = "retrieve", "search"


def scenario_of(plan: Plan, costs: Costs, *, lost: bool = False, seed: int = 0) -> Scenario:
    """Return a cell of a plan: 2,000 requests a second at most, with its share of the replicas, and shards of its own.

    Parameters
    ----------
    lost
        Whether the spare node of each kind is gone.
    """
    load = plan.load
    rate = min(load.qps, _CELL)
    # What was late in the beginning must have gone before one looks.
    warm_up_s = 2 * load.deadline_s
    seconds = min(_LONGEST_S, max(warm_up_s, _REQUESTS / rate))

    def own(deployment: str) -> int:
        if deployment not in plan.replicas:
            return 1
        count = plan.replicas[deployment] * rate / load.qps
        return max(1, math.ceil(count if lost else count * plan.fleet.spare(deployment)))

    return Scenario(
        Poisson(rate),
        _timing(plan, costs),
        topology="split" if plan.shards else "fused",
        replicas=own(INGRESS if plan.shards else FUSED),
        retrievers=own(RETRIEVER),
        rankers=own(RANKER),
        shards=plan.shards,
        shard_replicas=max(1, math.ceil(own(SHARD) / max(1, plan.shards))),
        largest_batch=load.largest_batch,
        deadline_s=load.deadline_s,
        seconds=seconds,
        warm_up_s=warm_up_s,
        stragglers=Stragglers(costs.slow_share, costs.slow_times),
        seed=seed,
    )


def simulated_rows(plan: Plan, costs: Costs, seed: int = 0) -> tuple[Line, ...]:
    """Simulate a cell of the plan, and the same cell without the spare nodes."""
    return (
        *_rows("", simulate(scenario_of(plan, costs, seed=seed))),
        *_rows(", one node lost", simulate(scenario_of(plan, costs, lost=True, seed=seed))),
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


def _rows(when: str, result: Result) -> tuple[Line, ...]:
    about = f"simulated{when}"
    lost = result.turned_away + result.failed
    stage, busiest = max(result.stages.items(), key=lambda one: one[1].utilisation)
    batch = f"mean batch of {stage} {busiest.mean_batch:.1f}"
    return (
        Line(about, "p50", result.p50_ms, "ms", "simulated", "Poisson arrivals"),
        Line(about, "p99", result.p99_ms, "ms", "simulated", batch),
        Line(about, "replicas busy", 100 * result.busy[INGRESS], "%", "simulated", "of a core each"),
        Line(about, "degraded", 100 * result.degraded, "%", "simulated", "a stage was late"),
        Line(about, "searched in part", 100 * result.partly, "%", "simulated", "a shard was late or lost"),
        Line(about, "not answered", 100 * lost, "%", "simulated", "turned away or failed"),
    )
