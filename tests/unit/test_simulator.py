"""The simulator of the graph: against what queueing theory knows, and against what the real batcher does."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest

from foveate.core.errors import ConfigError
from foveate_capacity.simulator.scenario import (
    Bursts,
    Closed,
    Failure,
    Poisson,
    Scenario,
    Steady,
    Stragglers,
    Timing,
)
from foveate_capacity.simulator.simulated_service import simulate

SERVICE_S = 0.01
ALONE = Timing({"rank": (SERVICE_S, 0.0)})
"""One stage of a fixed time; all else costs nothing."""
GRAPH = Timing(
    {
        "hydrate": (1e-4, 2e-4),
        "retrieve": (2e-3, 4e-4),
        "rank": (1e-3, 1e-3),
        "select": (0.0, 5e-4),
        "record": (1e-4, 2e-4),
    },
    ingress_s=1e-3,
    refused_s=2e-4,
    proxy_s=1e-4,
    hop_caller_s=2e-4,
    hop_callee_s=2e-4,
)


def one_queue(load: float, **more: object) -> Scenario:
    settings = {"largest_batch": 1, "max_ongoing": 10**6, "deadline_s": 100.0, "seconds": 120.0, "warm_up_s": 10.0}
    return Scenario(Poisson(load / SERVICE_S), ALONE, **(settings | more))  # type: ignore[arg-type]


@pytest.mark.parametrize("load", [0.5, 0.7])
def test_a_queue_of_equal_services_waits_as_long_as_pollaczek_and_khinchine_say(load: float) -> None:
    took = statistics.fmean(one.took for one in simulate(one_queue(load)).outcomes)
    assert took == pytest.approx(SERVICE_S * (1 + load / (2 * (1 - load))), rel=0.06)


def test_stragglers_lengthen_the_queue_by_the_spread_of_their_times() -> None:
    load, share, times = 0.4, 0.02, 10.0
    result = simulate(one_queue(load, stragglers=Stragglers(share, times), seconds=200.0))
    mean = SERVICE_S * (1 + share * (times - 1))
    square = SERVICE_S**2 * (1 + share * (times**2 - 1))
    rate = load / SERVICE_S
    expected = mean + rate * square / (2 * (1 - rate * mean))
    assert statistics.fmean(one.took for one in result.outcomes) == pytest.approx(expected, rel=0.12)


def test_who_comes_alone_waits_for_nobody() -> None:
    result = simulate(Scenario(Closed(1), GRAPH, seconds=3.0))
    alone = 1e-3 + 1e-4 + sum(fixed + each for name, (fixed, each) in GRAPH.stages.items() if name != "record")
    # The record of the answer before may still be written.
    assert alone <= result.p50_ms / 1e3 <= alone + 4e-4
    assert all(stage.mean_batch == 1 for stage in result.stages.values())


def test_a_busy_batcher_takes_what_came_together_and_so_answers_more() -> None:
    one, together = (simulate(Scenario(Closed(32), GRAPH, largest_batch=largest, seconds=4.0)) for largest in (1, 32))
    assert one.stages["retrieve"].mean_batch == 1
    assert together.stages["retrieve"].mean_batch > 3
    assert together.per_second > 1.4 * one.per_second


def test_clients_and_proxy_on_the_same_cores_take_from_the_replicas() -> None:
    alone = simulate(Scenario(Closed(16), GRAPH, replicas=2, cores=2, seconds=2.0))
    beside = simulate(
        Scenario(Closed(16), replace(GRAPH, client_s=1e-3, background_cores=0.2), replicas=2, cores=2, seconds=2.0)
    )
    assert beside.per_second < 0.9 * alone.per_second
    assert sum(alone.busy[part] * count for part, count in (("ingress", 2), ("proxy", 1))) <= 2.01


def test_a_lost_replica_costs_what_it_carried_until_it_is_back() -> None:
    scenario = Scenario(
        Poisson(420.0), GRAPH, replicas=2, seconds=9.0, warm_up_s=0.0, failures=(Failure("ingress", 3.0, 3.0),)
    )
    result = simulate(scenario)
    before, during, after = (result.good_between(*part) for part in ((1, 3), (4, 6), (7, 9)))
    assert before == pytest.approx(420, rel=0.1)
    assert during < 0.9 * before
    assert after == pytest.approx(before, rel=0.1)


def test_a_lost_ranker_is_asked_again_elsewhere_and_without_any_slates_are_degraded() -> None:
    scenario = Scenario(Steady(50.0), GRAPH, topology="split", rankers=2, seconds=6.0, warm_up_s=0.0)
    whole = simulate(replace(scenario, failures=(Failure("ranker", 2.0, 2.0),)))
    assert whole.degraded == 0
    assert whole.failed == 0
    without = simulate(replace(scenario, rankers=1, failures=(Failure("ranker", 2.0, 2.0),)))
    assert without.failed == 0
    reasons = {reason for one in without.outcomes for reason in one.degraded}
    assert reasons == {"ranker_lost"}
    assert 0.2 < without.degraded < 0.5


def test_what_is_late_is_done_without_and_what_is_too_much_is_turned_away() -> None:
    slow = replace(GRAPH, stages={**GRAPH.stages, "rank": (0.5, 0.0)})
    late = simulate(Scenario(Closed(4), slow, deadline_s=0.2, seconds=5.0))
    assert late.degraded > 0.9
    assert late.p99_ms < 400
    flooded = simulate(Scenario(Poisson(2000.0), GRAPH, max_ongoing=32, seconds=2.0, warm_up_s=0.5))
    assert flooded.turned_away > 0.5
    assert flooded.failed == 0
    assert flooded.per_second > 100


def test_every_shard_is_waited_for_and_one_that_is_late_is_left_out() -> None:
    timing = replace(GRAPH, stages={**GRAPH.stages, "search": (5e-3, 0.0)})
    scenario = Scenario(Poisson(60.0), timing, topology="split", stragglers=Stragglers(0.02, 20.0), seconds=10.0)
    few, many = (simulate(replace(scenario, shards=shards)) for shards in (1, 16))
    assert many.p50_ms > few.p50_ms
    assert many.p99_ms > few.p99_ms
    assert many.stages["search"].utilisation == pytest.approx(few.stages["search"].utilisation, rel=0.25)
    assert many.partly == 0
    hurried = simulate(replace(scenario, shards=16, deadline_s=0.15))
    assert 0.1 < hurried.partly < 0.9
    lost = replace(scenario, shards=2, stragglers=Stragglers(), failures=(Failure("shard", 4.0, 4.0),))
    without = simulate(lost)
    assert without.partly > 0.2
    assert without.degraded == 0
    with pytest.raises(ConfigError, match="topology=split"):
        replace(scenario, shards=2, topology="fused")


def test_bursts_come_as_often_as_they_say() -> None:
    result = simulate(Scenario(Bursts(100.0, times=5.0), Timing({}), seconds=60.0))
    assert result.per_second == pytest.approx(100.0, rel=0.08)
    in_bursts = sum(one.came % 5.0 < 0.5 for one in result.outcomes) / len(result.outcomes)
    assert in_bursts == pytest.approx(0.5 / 1.4, abs=0.05)


def test_the_same_seed_gives_the_same_result_and_another_one_another() -> None:
    scenario = Scenario(Poisson(100.0), GRAPH, replicas=2, stragglers=Stragglers(0.05, 5.0), seconds=3.0)
    assert simulate(scenario) == simulate(scenario)
    assert simulate(scenario) != simulate(replace(scenario, seed=1))


def test_nothing_that_is_not_there_can_fail() -> None:
    with pytest.raises(ConfigError, match=r"'ranker'.*Known: ingress"):
        simulate(Scenario(Closed(1), GRAPH, failures=(Failure("ranker", 1.0, 1.0),)))
