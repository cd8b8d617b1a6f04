"""The scenario of a simulation: load, layout of the graph, failures, and the cost of each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from foveate.core.errors import ConfigError
from foveate_capacity.costs import HANDOVER, Costs
from foveate_serve.config import Topology


@dataclass(frozen=True)
class Closed:
    """So many clients, each of which asks again as soon as it is answered."""

    clients: int


@dataclass(frozen=True)
class Steady:
    """Requests at equal distances, however long the answers take."""

    per_second: float


@dataclass(frozen=True)
class Poisson:
    """Requests that know nothing of each other."""

    per_second: float


@dataclass(frozen=True)
class Bursts:
    """Poisson arrivals that come ``times`` as often during the first ``on_s`` seconds of every ``every_s``.

    ``per_second`` is the mean over both.
    """

    per_second: float
    times: float = 3.0
    on_s: float = 0.5
    every_s: float = 5.0

    def rate(self, now: float) -> float:
        """Return the requests a second at a moment."""
        share = self.on_s / self.every_s
        calm = self.per_second / (1 - share + share * self.times)
        return calm * (self.times if now % self.every_s < self.on_s else 1.0)


Arrivals: TypeAlias = Closed | Steady | Poisson | Bursts


@dataclass(frozen=True)
class Failure:
    """One replica of a deployment dies at ``at_s`` and answers again ``down_s`` later."""

    deployment: str
    at_s: float
    down_s: float


@dataclass(frozen=True)
class Stragglers:
    """A share of the batches takes ``times`` as long as the others."""

    share: float = 0.0
    times: float = 1.0


@dataclass(frozen=True)
class Timing:
    """Seconds of one core, with a catalogue of one size.

    Parameters
    ----------
    stages
        Fixed seconds of a batch, and seconds of each request in it, by stage.
    handover
        The same of what a batcher itself costs.
    client_s
        What the load generator takes for a request, where it shares the machine.
    """

    stages: Mapping[str, tuple[float, float]]
    handover: tuple[float, float] = (0.0, 0.0)
    ingress_s: float = 0.0
    refused_s: float = 0.0
    proxy_s: float = 0.0
    hop_caller_s: float = 0.0
    hop_callee_s: float = 0.0
    client_s: float = 0.0
    background_cores: float = 0.0

    @classmethod
    def of(cls, costs: Costs, items: int, client_s: float = 0.0) -> Timing:
        """Take the costs as they are with ``items`` videos."""
        server = costs.server
        return cls(
            stages={name: line.at(items) for name, line in costs.stages.items() if name != HANDOVER},
            handover=costs.stages[HANDOVER].at(0),
            ingress_s=server.ingress_s,
            refused_s=server.refused_s,
            proxy_s=server.proxy_s,
            hop_caller_s=server.hop_caller_s,
            hop_callee_s=server.hop_callee_s,
            client_s=client_s,
            background_cores=server.background_cores,
        )

    def batch_s(self, stages: tuple[str, ...], requests: int) -> float:
        """Return the seconds of a batch that goes through some stages at once."""
        own = [self.stages.get(name, (0.0, 0.0)) for name in stages]
        return sum(fixed + requests * each for fixed, each in (*own, self.handover))


@dataclass(frozen=True)
class Scenario:
    """One run.

    Parameters
    ----------
    replicas
        How many of the ingress; in the topology ``fused`` they are all there is.
    retrievers, rankers
        How many of the others.
    shards, shard_replicas
        Into how many parts the items are cut that retrievers search, each in processes of its own; every part is asked
        for every request. 0 searches within the retriever, as ``fused`` always does.
    cores
        Cores of the one machine on which everything runs; 0 gives every process a core of its own.
    largest_batch, deadline_s, max_ongoing
        As in the server's settings.
    seconds, warm_up_s
        How long is looked at, and how long before that.
    """

    arrivals: Arrivals
    timing: Timing
    topology: Topology = "fused"
    replicas: int = 1
    retrievers: int = 1
    rankers: int = 1
    shards: int = 0
    shard_replicas: int = 1
    cores: int = 0
    largest_batch: int = 32
    deadline_s: float = 2.0
    max_ongoing: int = 64
    seconds: float = 10.0
    warm_up_s: float = 2.0
    stragglers: Stragglers = field(default_factory=Stragglers)
    failures: tuple[Failure, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (self.replicas, self.retrievers, self.rankers, self.shard_replicas, self.largest_batch)
        if min(*counts, self.max_ongoing) < 1 or self.shards < 0:
            raise ConfigError("replicas, the largest batch and max_ongoing must be 1 or more, shards 0 or more")
        if self.seconds <= 0 or self.deadline_s <= 0 or self.warm_up_s < 0 or self.cores < 0:
            raise ConfigError("seconds and deadline_s must be above 0, warm_up_s and cores 0 or more")
        if self.shards and self.topology != "split":
            raise ConfigError("shards need topology=split, for fused holds everything in each replica")
