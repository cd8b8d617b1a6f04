"""Cores that processes share evenly, and event loops that do one thing at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import simpy

Steps = Generator[simpy.Event, Any, Any]

_NOTHING = 1e-12


class Cores:
    """Some cores, shared evenly among the processes that have something to do.

    A process uses one core at most, however many threads it has: Python's lock lets one of them run at a time.
    """

    def __init__(self, env: simpy.Environment, count: float) -> None:
        self.env = env
        self._count = count
        self._busy: list[Process] = []
        self._updated_at = 0.0
        self._turn = 0

    def begin(self, process: Process) -> None:
        """Take a process in that has something to do now."""
        self._busy.append(process)

    def settle(self) -> None:
        """Let the work go on up to now."""
        elapsed = self.env.now - self._updated_at
        self._updated_at = self.env.now
        if elapsed > 0 and self._busy:
            share = min(1.0, self._count / len(self._busy)) * elapsed
            for process in self._busy:
                process.advance(share)

    def plan(self) -> None:
        """Come back when the next piece of work is done."""
        self._busy = [process for process in self._busy if process.jobs]
        self._turn += 1
        if not self._busy:
            return
        rate = min(1.0, self._count / len(self._busy))
        wait = min(process.least_left() for process in self._busy) / rate
        turn = self._turn
        timeout = self.env.timeout(max(wait, 0.0))
        timeout.callbacks.append(lambda _: self._come_back(turn))

    def _come_back(self, turn: int) -> None:
        if turn != self._turn:
            return  # other work has come or gone since
        self.settle()
        for process in self._busy:
            process.finish()
        self.plan()


class Process:
    """One operating-system process: pieces of work that share at most one core."""

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self.jobs: list[_Job] = []
        self.dead = False
        self.used = 0.0
        """Seconds of a core so far."""

    def work(self, seconds: float) -> simpy.Event:
        """Return what happens when so many seconds of a core have been worked."""
        done = self._cores.env.event()
        if self.dead:
            return done
        if seconds <= 0:
            return done.succeed()
        self._cores.settle()
        if not self.jobs:
            self._cores.begin(self)
        self.jobs.append(_Job(seconds, done))
        self._cores.plan()
        return done

    def die(self) -> None:
        """Drop all work; what it was for never happens."""
        self._cores.settle()
        self.dead = True
        self.jobs.clear()
        self._cores.plan()

    def advance(self, share: float) -> None:
        """Work for ``share`` seconds of a core, spread over what there is to do."""
        self.used += share
        each = share / len(self.jobs)
        for job in self.jobs:
            job.left -= each

    def least_left(self) -> float:
        """Return the seconds of a core until the next piece is done."""
        return min(job.left for job in self.jobs) * len(self.jobs)

    def finish(self) -> None:
        """Tell of what is done."""
        done = [job for job in self.jobs if job.left <= _NOTHING]
        if done:
            self.jobs = [job for job in self.jobs if job.left > _NOTHING]
            for job in done:
                job.done.succeed()


class _Job:
    __slots__ = ("done", "left")

    def __init__(self, left: float, done: simpy.Event) -> None:
        self.left, self.done = left, done


class Loop:
    """A process's event loop, or one of its threads: takes one thing after the other, in the order they came."""

    def __init__(self, env: simpy.Environment, process: Process) -> None:
        self.process = process
        self._env = env
        self._taken = False
        self._waiting: deque[simpy.Event] = deque()

    def run(self, seconds: float) -> Steps:
        """Wait for a turn and work."""
        if seconds > 0:
            yield from self.begin(lambda: seconds)

    def begin(self, work: Callable[[], float]) -> Steps:
        """Wait for a turn and do work that is only then settled; ``work`` returns its seconds of a core."""
        if self._taken:
            turn = self._env.event()
            self._waiting.append(turn)
            yield turn
        self._taken = True
        yield self.process.work(work())
        if self._waiting:
            # The turn goes from hand to hand: who comes just now does not get between.
            self._waiting.popleft().succeed()
        else:
            self._taken = False
