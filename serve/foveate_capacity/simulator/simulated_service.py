"""One run of the simulator: arrivals, the proxy before the replicas, what goes wrong, and the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from foveate.core.errors import ConfigError
from foveate_capacity.simulator.cores import Loop, Steps
from foveate_capacity.simulator.environment import Simulation
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
    sim = Simulation(scenario)
    system = _System(sim)
    outcomes: list[Outcome] = []
    sim.env.process(_arrivals(sim, system, outcomes))
    if scenario.cores and scenario.timing.background_cores:
        sim.env.process(_background(sim))
    for failure in scenario.failures:
        sim.env.process(_fail(sim, system.replicas(failure.deployment), failure))
    if scenario.warm_up_s:
        sim.env.run(until=scenario.warm_up_s)
        sim.clear()
    sim.env.run(until=scenario.warm_up_s + scenario.seconds)
    measured = [one for one in outcomes if one.came + one.took >= scenario.warm_up_s]
    found = result_of(measured, scenario.seconds, sim.stages(scenario.seconds), sim.busy(scenario.seconds))
    return replace(found, partly=sim.missed / max(1, len(measured)))


class _System:
    """The proxy, the replicas behind it, and the load generator before it."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        scenario = sim.scenario
        self._proxy = Loop(sim.env, sim.process(PROXY))
        self._client = Loop(sim.env, sim.process(CLIENT)) if scenario.timing.client_s else None
        retrieve = rank = None
        self._stages: dict[str, list[StageReplica]] = {}
        if scenario.topology == "split":
            shards = self._pool(SHARD, SEARCH, scenario.shards, scenario.shard_replicas) if scenario.shards else None
            retrieve = self._pool(RETRIEVER, RETRIEVE, 1, scenario.retrievers, shards).ask
            rank = self._pool(RANKER, RANK, 1, scenario.rankers).ask
        self._ingresses = [Ingress(sim, INGRESS, retrieve, rank) for _ in range(scenario.replicas)]

    def replicas(self, deployment: str) -> Sequence[Replica]:
        """Return all replicas of a deployment."""
        deployments: dict[str, Sequence[Replica]] = {INGRESS: self._ingresses, **self._stages}
        if deployment not in deployments:
            raise ConfigError(f"nothing called '{deployment}' can fail here. Known: {', '.join(deployments)}.")
        return deployments[deployment]

    def request(self) -> Steps:
        """Go through one request as its client sees it; ends with status and what was degraded."""
        timing = self._sim.scenario.timing
        if self._client:
            yield from self._client.run(timing.client_s / 2)
        yield from self._proxy.run(timing.proxy_s / 2)
        reply = yield from self._answered()
        yield from self._proxy.run(timing.proxy_s / 2)
        if self._client:
            yield from self._client.run(timing.client_s / 2)
        return reply

    def _answered(self) -> Steps:
        """Ask the replica with the fewest requests, as HAProxy does, and another one where it is lost."""
        for _ in range(2):
            alive = [one for one in self._ingresses if one.alive]
            if not alive:
                break
            fewest = min(one.asked for one in alive)
            replica = self._sim.rng.choice([one for one in alive if one.asked == fewest])
            reply = yield from through(replica, replica.answer())
            if reply is not None:
                return reply[0]
        return 0, ()

    def _pool(self, name: str, stages: tuple[str, ...], shards: int, replicas: int, search: Pool | None = None) -> Pool:
        own = [[StageReplica(self._sim, name, stages, search) for _ in range(replicas)] for _ in range(shards)]
        self._stages[name] = [one for shard in own for one in shard]
        return Pool(self._sim, own)


def _arrivals(sim: Simulation, system: _System, outcomes: list[Outcome]) -> Steps:
    env, rng, arrivals = sim.env, sim.rng, sim.scenario.arrivals
    if isinstance(arrivals, Closed):
        for _ in range(arrivals.clients):
            env.process(_client(sim, system, outcomes))
        return
    while True:
        if isinstance(arrivals, Steady):
            yield env.timeout(1 / arrivals.per_second)
        elif isinstance(arrivals, Poisson):
            yield env.timeout(rng.expovariate(arrivals.per_second))
        else:
            yield from _until_next(sim, arrivals)
        env.process(_once(sim, system, outcomes))


def _until_next(sim: Simulation, bursts: Bursts) -> Steps:
    """Wait for the next arrival at a rate that changes: those of the highest rate, thinned out.

    Source: Lewis and Shedler, Simulation of nonhomogeneous Poisson processes by thinning (1979).
    """
    highest = bursts.rate(0.0)
    while True:
        yield sim.env.timeout(sim.rng.expovariate(highest))
        if sim.rng.random() * highest <= bursts.rate(sim.env.now):
            return


def _client(sim: Simulation, system: _System, outcomes: list[Outcome]) -> Steps:
    while True:
        yield from _once(sim, system, outcomes)


def _once(sim: Simulation, system: _System, outcomes: list[Outcome]) -> Steps:
    came = sim.env.now
    status, degraded = yield from system.request()
    outcomes.append(Outcome(came, sim.env.now - came, status, degraded))
    if not status:
        # Nothing answers: a client that asked again at once would never let time pass.
        yield sim.env.timeout(_BEAT_S)


def _background(sim: Simulation) -> Steps:
    process, share = sim.process(_BACKGROUND), sim.scenario.timing.background_cores
    while True:
        yield sim.env.timeout(_BEAT_S)
        process.work(share * _BEAT_S)


def _fail(sim: Simulation, replicas: Sequence[Replica], failure: Failure) -> Steps:
    yield sim.env.timeout(failure.at_s)
    replica = next((one for one in replicas if one.alive), None)
    if replica is None:
        return
    replica.die()
    yield sim.env.timeout(failure.down_s)
    replica.start()
