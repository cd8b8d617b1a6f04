"""Replicas of the graph: the ingress with its stages, and the retriever and the ranker on their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import simpy

from foveate_capacity.costs import RECORD
from foveate_capacity.simulator.cores import Loop, Process, Steps
from foveate_capacity.simulator.environment import Simulation
from foveate_capacity.simulator.tally import StageTally
from foveate_serve.config import RANKING_SHARE, RETRIEVAL_SHARE
from foveate_serve.stages.guarded import Breaker
from foveate_serve.stages.sharded import SEARCH_SHARE
from foveate_serve.stages.writer import BATCH, GATHER_S


class Call:
    """One call that waits for its answer."""

    __slots__ = ("answered", "given_up")

    def __init__(self, answered: simpy.Event) -> None:
        self.answered = answered
        self.given_up = False
        """Whether the caller waits no longer: before its turn, such a call is left out."""


class SimBatcher:
    """Starts at once when idle; takes together what came while it was at work.

    Parameters
    ----------
    thread
        Where batches are worked on; batchers of one thread take turns.
    largest
        Most calls of one batch.
    batch_s
        Gives the seconds of a core that a batch of so many calls takes this time.
    tally
        Where it tells of its batches.
    """

    def __init__(
        self,
        env: simpy.Environment,
        thread: Loop,
        largest: int,
        batch_s: Callable[[int], float],
        tally: StageTally,
    ) -> None:
        self._env = env
        self._thread = thread
        self._largest = largest
        self._batch_s = batch_s
        self._tally = tally
        self._waiting: deque[Call] = deque()
        self._batch: list[Call] = []
        self._running = False

    def ask(self) -> Call:
        """Have one call answered."""
        call = Call(self._env.event())
        self._tally.arrived(len(self._waiting))
        self._waiting.append(call)
        if not self._running:
            self._running = True
            self._env.process(self._work_through())
        return call

    def _work_through(self) -> Steps:
        # A task starts after what the loop is just doing: calls of the same moment come along.
        yield self._env.timeout(0)
        while self._waiting:
            yield from self._thread.begin(self._next)
            for call in self._batch:
                call.answered.succeed()
        self._running = False

    def _next(self) -> float:
        """Take a batch when the thread is free; returns the seconds that it takes."""
        self._batch = self._next_batch()
        if not self._batch:
            return 0.0
        seconds = self._batch_s(len(self._batch))
        self._tally.worked(len(self._batch), seconds)
        return seconds

    def _next_batch(self) -> list[Call]:
        batch: list[Call] = []
        while self._waiting and len(batch) < self._largest:
            call = self._waiting.popleft()
            if not call.given_up:
                batch.append(call)
        return batch


HYDRATE: Final = ("hydrate",)
RETRIEVE: Final = ("retrieve",)
SEARCH: Final = ("search",)
RANK: Final = ("rank", "select")
"""What goes through a ranker's thread in one batch."""

Ask = Callable[["Ingress", float, list[Call]], Steps]
"""Has a stage answer until a moment; the steps end with None, or with what went wrong."""


class Replica:
    """One copy of a deployment: a process with its event loop. It can die and come back.

    Parameters
    ----------
    sim
        What all parts share.
    name
        Of the deployment.
    """

    def __init__(self, sim: Simulation, name: str) -> None:
        self.sim, self.name = sim, name
        self.start()

    def start(self) -> None:
        """Begin with nothing to do, as a new process."""
        self.process = self.sim.process(self.name)
        self.loop = Loop(self.sim.env, self.process)
        self.gone = self.sim.env.event()
        self.asked = 0
        """Requests under way."""

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return not self.gone.triggered

    def die(self) -> None:
        """Lose everything that is under way."""
        self.process.die()
        self.gone.succeed()

    def thread(self) -> Loop:
        """Return a thread of this process."""
        return Loop(self.sim.env, self.process)

    def batcher(self, stages: tuple[str, ...], thread: Loop) -> SimBatcher:
        """Return a batcher for some stages."""
        sim = self.sim
        return SimBatcher(
            sim.env,
            thread,
            sim.scenario.largest_batch,
            lambda requests: sim.batch_s(stages, requests),
            sim.tally("+".join(stages)),
        )


class StageReplica(Replica):
    """A retriever, a ranker or a shard in a process of its own.

    Parameters
    ----------
    stages
        What goes through its thread in one batch.
    search
        The shards that it asks before; None for none.
    """

    def __init__(self, sim: Simulation, name: str, stages: tuple[str, ...], search: Pool | None = None) -> None:
        self._stages, self._search = stages, search
        super().__init__(sim, name)

    def start(self) -> None:
        """Begin anew."""
        super().start()
        self._batcher = self.batcher(self._stages, self.thread())

    def serve(self, calls: list[Call], deadline: float) -> Steps:
        """Answer one call that came over a hop; ends with what part of the catalogue was searched for it."""
        yield from self.loop.run(self.sim.scenario.timing.hop_callee_s)
        searched = (yield from self._search.coverage(self, deadline)) if self._search else 1.0
        call = self._batcher.ask()
        calls.append(call)
        yield call.answered
        return searched


class Ingress(Replica):
    """Answers requests: by its own stages, or by those that it is given.

    Parameters
    ----------
    retrieve, rank
        Ask other replicas; None has this one do the work.
    """

    def __init__(self, sim: Simulation, name: str, retrieve: Ask | None, rank: Ask | None) -> None:
        self._remote = (retrieve, rank)
        super().__init__(sim, name)

    def start(self) -> None:
        """Begin anew."""
        super().start()
        env = self.sim.env
        self._hydrator = self.batcher(HYDRATE, self.thread())
        shared = self.thread()
        retrieve, rank = self._remote
        self._retrieve = retrieve or _local(self.batcher(RETRIEVE, shared))
        self._rank = rank or _local(self.batcher(RANK, shared))
        self._breakers = [Breaker(clock=lambda: float(env.now)) for _ in range(2)]
        self._writer = _Writer(self.sim, self.process)
        self._admitted = 0

    def answer(self) -> Steps:
        """Answer one request; ends with its status and what was degraded."""
        timing, scenario = self.sim.scenario.timing, self.sim.scenario
        if self._admitted >= scenario.max_ongoing:
            yield from self.loop.run(timing.refused_s)
            return 503, ()
        self._admitted += 1
        yield from self.loop.run(timing.ingress_s / 2)
        degraded = yield from self._stages(self.sim.env.now, scenario.deadline_s)
        yield from self.loop.run(timing.ingress_s / 2)
        self._admitted -= 1
        self._writer.add()
        return 200, degraded

    def _stages(self, began: float, deadline_s: float) -> Steps:
        yield self._hydrator.ask().answered
        reason = yield from self._guarded(0, "retriever", began + RETRIEVAL_SHARE * deadline_s)
        if not reason:
            reason = yield from self._guarded(1, "ranker", began + RANKING_SHARE * deadline_s)
        if not reason:
            return ()
        # The order of retrieval answers, or everyone's favourites; the slate is chosen in a thread of its own.
        yield self.process.work(self.sim.scenario.timing.batch_s(("select",), 1))
        return (reason,)

    def _guarded(self, which: int, name: str, due: float) -> Steps:
        breaker, ask = self._breakers[which], (self._retrieve, self._rank)[which]
        if not breaker.may_ask():
            return f"{name}_lost"
        calls: list[Call] = []
        reason = yield from ask(self, due, calls)
        breaker.record(well=reason is None)
        if reason is None:
            return None
        for call in calls:
            call.given_up = True
        return f"{name}_{reason}"


def _local(batcher: SimBatcher) -> Ask:
    def ask(caller: Ingress, due: float, calls: list[Call]) -> Steps:
        env, call = caller.sim.env, batcher.ask()
        calls.append(call)
        yield call.answered | env.timeout(max(0.0, due - env.now))
        return None if call.answered.triggered else "slow"

    return ask


class _Writer:
    """Writes after the reply, many requests in one go."""

    def __init__(self, sim: Simulation, process: Process) -> None:
        self._sim, self._process = sim, process
        self._waiting = 0
        self._running = False

    def add(self) -> None:
        """Have one more written."""
        self._waiting += 1
        if not self._running:
            self._running = True
            self._sim.env.process(self._write())

    def _write(self) -> Steps:
        while self._waiting:
            yield self._sim.env.timeout(GATHER_S)
            batch = min(self._waiting, BATCH)
            self._waiting -= batch
            yield self._process.work(self._sim.batch_s((RECORD,), batch))
        self._running = False


class Pool:
    """The replicas of a deployment that others ask, or of its shards: one of each answers a request.

    Parameters
    ----------
    shards
        The replicas of each shard; all replicas in one where there are none.
    """

    def __init__(self, sim: Simulation, shards: list[list[StageReplica]]) -> None:
        self._sim = sim
        self._shards = shards

    def ask(self, caller: Ingress, due: float, calls: list[Call]) -> Steps:
        """Have one replica answer."""
        yield from caller.loop.run(self._sim.scenario.timing.hop_caller_s)
        [answered] = yield from self._until(due, calls)
        if answered is None:
            return "slow"
        return None if answered else "lost"

    def coverage(self, caller: Replica, deadline: float) -> Steps:
        """Have every shard answer; ends with the share of those that did in their part of the time."""
        env = self._sim.env
        due = env.now + SEARCH_SHARE * (deadline - env.now)
        yield from caller.loop.run(self._sim.scenario.timing.hop_caller_s * len(self._shards))
        calls: list[Call] = []
        answered = yield from self._until(due, calls)
        for call in calls:
            call.given_up = True
        found = sum(bool(one) for one in answered) / len(self._shards)
        self._sim.missed += found < 1
        return found

    def _until(self, due: float, calls: list[Call]) -> Steps:
        """Ask one replica of each shard; ends with whether each answered, None where it has not until ``due``."""
        env = self._sim.env
        flows = [env.process(self._one(shard, calls, due)) for shard in self._shards]
        every = flows[0] if len(flows) == 1 else env.all_of(flows)
        yield every | env.timeout(max(0.0, due - env.now))
        return [flow.value if flow.triggered else None for flow in flows]

    def _one(self, shard: list[StageReplica], calls: list[Call], due: float) -> Steps:
        """Ask one replica, and another one where it is lost; ends with whether one answered."""
        for _ in range(2):
            replica = self._picked(shard)
            if replica is None:
                return False
            answered = yield from through(replica, replica.serve(calls, due))
            if answered is not None:
                return True
        return False

    def _picked(self, shard: list[StageReplica]) -> StageReplica | None:
        """Return the less busy of two, as Ray Serve's router does."""
        two = self._sim.rng.sample(shard, min(2, len(shard)))
        alive = [replica for replica in two if replica.alive] or [replica for replica in shard if replica.alive]
        return min(alive, key=lambda replica: replica.asked, default=None)


def through(replica: Replica, steps: Steps) -> Steps:
    """Go through steps on a replica; ends with ``[what they end with]``, or with None where the replica is lost."""
    env, gone = replica.sim.env, replica.gone
    replica.asked += 1
    flow: simpy.Process = env.process(steps)
    yield flow | gone
    if not flow.triggered:
        return None
    replica.asked -= 1
    return [flow.value]
