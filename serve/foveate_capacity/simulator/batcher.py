"""The micro-batcher of :mod:`foveate_serve.stages.batcher`, step by step, without the work itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import simpy

from foveate_capacity.simulator.cores import Loop, Steps
from foveate_capacity.simulator.tally import StageTally


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
        self._batch = self._take()
        if not self._batch:
            return 0.0
        seconds = self._batch_s(len(self._batch))
        self._tally.worked(len(self._batch), seconds)
        return seconds

    def _take(self) -> list[Call]:
        batch: list[Call] = []
        while self._waiting and len(batch) < self._largest:
            call = self._waiting.popleft()
            if not call.given_up:
                batch.append(call)
        return batch
