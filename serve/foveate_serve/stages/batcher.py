"""Many calls in one: while a batch is worked on, the next one gathers. An idle batcher starts at once."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeAlias, TypeVar

A = TypeVar("A")
R = TypeVar("R")
Waiting: TypeAlias = tuple[A, "asyncio.Future[R]"]


class Batcher(Generic[A, R]):
    """Does the same work for many callers at a time, beside the event loop.

    No call waits for others to come: what gathers is what came while the thread was at work. Calls whose caller has
    given up before their batch is formed are left out. Where a batch fails, each of its calls is tried alone, so that
    one that cannot be answered fails alone.

    Parameters
    ----------
    name
        Of threads of its own.
    work
        Answers a batch: one result a call, in order. Runs in a thread.
    largest
        Most calls of one batch.
    thread
        Where the work is done; None takes threads of its own. Batchers that share a thread work one after the other.
    spare_threads, slow_s
        How many further threads may work while a batch takes longer than so many seconds.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[A]], Sequence[R]],
        largest: int,
        thread: ThreadPoolExecutor | None = None,
        *,
        spare_threads: int = 0,
        slow_s: float = math.inf,
    ) -> None:
        self._work = work
        self._largest = largest
        self._threads = thread or ThreadPoolExecutor(1 + spare_threads, thread_name_prefix=name)
        self._most = 1 + spare_threads
        self._slow_s = slow_s
        self._waiting: deque[Waiting[A, R]] = deque()
        self._runs: set[asyncio.Task[None]] = set()
        self._slow: set[asyncio.Task[None]] = set()
        """Those of the runs whose batch takes too long for others to wait for it."""

    async def ask(self, call: A) -> R:
        """Have one call answered; raises what the work raises for it."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answer))
        self._start()
        return await answer

    def _start(self) -> None:
        """Start a run where calls wait and no run is about to take them."""
        if self._waiting and len(self._runs) == len(self._slow) < self._most:
            self._runs.add(asyncio.create_task(self._work_through()))

    async def _work_through(self) -> None:
        loop, run = asyncio.get_running_loop(), asyncio.current_task()
        assert run is not None  # noqa: S101 - it is one
        try:
            while self._waiting:
                timer = loop.call_later(self._slow_s, self._is_slow, run) if self._slow_s < math.inf else None
                try:
                    batch, results = await loop.run_in_executor(self._threads, self._next)
                finally:
                    self._slow.discard(run)
                    if timer is not None:
                        timer.cancel()
                _settle(batch, results)
        finally:
            self._runs.discard(run)

    def _is_slow(self, run: asyncio.Task[None]) -> None:
        self._slow.add(run)
        self._start()

    def _next(self) -> tuple[list[Waiting[A, R]], Sequence[R | _Failed]]:
        """Take a batch and answer it. It is taken here, in the thread: while that was not free, more have come."""
        batch: list[Waiting[A, R]] = []
        while len(batch) < self._largest:
            try:
                call, answer = self._waiting.popleft()
            except IndexError:
                break
            if not answer.done():
                batch.append((call, answer))
        return batch, self._each([call for call, _ in batch]) if batch else []

    def _each(self, calls: Sequence[A]) -> Sequence[R | _Failed]:
        try:
            return self._work(calls)
        except Exception as error:
            if len(calls) == 1:
                return [_Failed(error)]
            return [self._each([call])[0] for call in calls]


def _settle(batch: Sequence[Waiting[A, R]], results: Sequence[R | _Failed]) -> None:
    for (_, answer), result in zip(batch, results, strict=True):
        if answer.done():
            continue
        if isinstance(result, _Failed):
            answer.set_exception(result.error)
        else:
            answer.set_result(result)


class _Failed:
    """A call that could not be answered, as a result beside the others'."""

    def __init__(self, error: Exception) -> None:
        self.error = error
