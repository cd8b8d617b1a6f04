"""One run of the simulator: arrivals, the proxy before the replicas, what goes wrong, and the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from foveate.core.errors import ConfigError
from foveate_capacity.simulator.cores import Loop, Steps
from foveate_capacity.simulator.environment import Ground
from foveate_capacity.simulator.replicas import (
    RANK,
    RETRIEVE,
    SEARCH,
    Ingress,
    Pool,
    Replica,
    StageReplica,
    through,
)
from foveate_capacity.simulator.scenario import Bursts, Closed, Failure, Poisson, Scenario, Steady
from foveate_capacity.simulator.tally import Outcome, Result, result_of
from foveate_serve.names import INGRESS, RANKER, RETRIEVER

PROXY: Final = "proxy"
CLIENT: Final = "client"
SHARD: Final = "shard"
_BACKGROUND: Final = "background"
_BEAT_S: Final = 0.01
"""How often Ray's own processes have something to do."""


def simulate(scenario: Scenario) -> Result:
    """Run a scenario; the same scenario gives the same result."""
    ground = Ground(scenario)
    system = _System(ground)
    outcomes: list[Outcome] = []
    ground.env.process(_arrivals(ground, system, outcomes))
    if scenario.cores and scenario.timing.background_cores:
        ground.env.process(_background(ground))
    for failure in scenario.failures:
        ground.env.process(_fail(ground, system.replicas(failure.deployment), failure))
    if scenario.warm_up_s:
        ground.env.run(until=scenario.warm_up_s)
        ground.clear()
    ground.env.run(until=scenario.warm_up_s + scenario.seconds)
    seen = [one for one in outcomes if one.came + one.took >= scenario.warm_up_s]
    found = result_of(seen, scenario.seconds, ground.stages(scenario.seconds), ground.busy(scenario.seconds))
    return replace(found, partly=ground.missed / max(1, len(seen)))


class _System:
    """The proxy, the replicas behind it, and the load generator before it."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        scenario = ground.scenario
        self._proxy = Loop(ground.env, ground.process(PROXY))
        self._client = Loop(ground.env, ground.process(CLIENT)) if scenario.timing.client_s else None
        retrieve = rank = None
        self._stages: dict[str, list[StageReplica]] = {}
        if scenario.topology == "split":
            shards = self._pool(SHARD, SEARCH, scenario.shards, scenario.shard_replicas) if scenario.shards else None
            retrieve = self._pool(RETRIEVER, RETRIEVE, 1, scenario.retrievers, shards).ask
            rank = self._pool(RANKER, RANK, 1, scenario.rankers).ask
        self._ingresses = [Ingress(ground, INGRESS, retrieve, rank) for _ in range(scenario.replicas)]

    def replicas(self, deployment: str) -> Sequence[Replica]:
        """Return all replicas of a deployment."""
        known: dict[str, Sequence[Replica]] = {INGRESS: self._ingresses, **self._stages}
        if deployment not in known:
            raise ConfigError(f"nothing called '{deployment}' can fail here. Known: {', '.join(known)}.")
        return known[deployment]

    def request(self) -> Steps:
        """Go through one request as its client sees it; ends with status and what was degraded."""
        timing = self._ground.scenario.timing
        if self._client:
            yield from self._client.run(timing.client_s / 2)
        yield from self._proxy.run(timing.proxy_s / 2)
        told = yield from self._answered()
        yield from self._proxy.run(timing.proxy_s / 2)
        if self._client:
            yield from self._client.run(timing.client_s / 2)
        return told

    def _answered(self) -> Steps:
        """Ask the replica with the fewest requests, as HAProxy does, and another one where it is lost."""
        for _ in range(2):
            alive = [one for one in self._ingresses if one.alive]
            if not alive:
                break
            fewest = min(one.asked for one in alive)
            replica = self._ground.rng.choice([one for one in alive if one.asked == fewest])
            told = yield from through(replica, replica.answer())
            if told is not None:
                return told[0]
        return 0, ()

    def _pool(self, name: str, stages: tuple[str, ...], shards: int, replicas: int, search: Pool | None = None) -> Pool:
        own = [[StageReplica(self._ground, name, stages, search) for _ in range(replicas)] for _ in range(shards)]
        self._stages[name] = [one for shard in own for one in shard]
        return Pool(self._ground, own)


def _arrivals(ground: Ground, system: _System, outcomes: list[Outcome]) -> Steps:
    env, rng, arrivals = ground.env, ground.rng, ground.scenario.arrivals
    if isinstance(arrivals, Closed):
        for _ in range(arrivals.clients):
            env.process(_client(ground, system, outcomes))
        return
    while True:
        if isinstance(arrivals, Steady):
            yield env.timeout(1 / arrivals.per_second)
        elif isinstance(arrivals, Poisson):
            yield env.timeout(rng.expovariate(arrivals.per_second))
        else:
            yield from _until_next(ground, arrivals)
        env.process(_once(ground, system, outcomes))


def _until_next(ground: Ground, bursts: Bursts) -> Steps:
    """Wait for the next arrival at a rate that changes: those of the highest rate, thinned out.

    Source: Lewis and Shedler, Simulation of nonhomogeneous Poisson processes by thinning (1979).
    """
    highest = bursts.rate(0.0)
    while True:
        yield ground.env.timeout(ground.rng.expovariate(highest))
        if ground.rng.random() * highest <= bursts.rate(ground.env.now):
            return


def _client(ground: Ground, system: _System, outcomes: list[Outcome]) -> Steps:
    while True:
        yield from _once(ground, system, outcomes)


def _once(ground: Ground, system: _System, outcomes: list[Outcome]) -> Steps:
    came = ground.env.now
    status, degraded = yield from system.request()
    outcomes.append(Outcome(came, ground.env.now - came, status, degraded))
    if not status:
        # Nothing answers: a client that asked again at once would never let time pass.
        yield ground.env.timeout(_BEAT_S)


def _background(ground: Ground) -> Steps:
    process, share = ground.process(_BACKGROUND), ground.scenario.timing.background_cores
    while True:
        yield ground.env.timeout(_BEAT_S)
        process.work(share * _BEAT_S)


def _fail(ground: Ground, replicas: Sequence[Replica], failure: Failure) -> Steps:
    yield ground.env.timeout(failure.at_s)
    replica = next((one for one in replicas if one.alive), None)
    if replica is None:
        return
    replica.die()
    yield ground.env.timeout(failure.down_s)
    replica.start()
