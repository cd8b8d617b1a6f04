"""Many calls in one: while a batch is worked on, the next one gathers. An idle batcher starts at once."""

from __future__ import annotations

import asyncio
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
    given up before their turn are left out. Where a batch fails, each of its calls is tried alone, so that one that
    cannot be answered fails alone.

    Parameters
    ----------
    name
        Of a thread of its own.
    work
        Answers a batch: one result a call, in order. Runs in the thread.
    largest
        Most calls of one batch.
    thread
        Where the work is done; None takes a thread of its own. Batchers of one thread take turns.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[A]], Sequence[R]],
        largest: int,
        thread: ThreadPoolExecutor | None = None,
    ) -> None:
        self._work = work
        self._largest = largest
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: deque[Waiting[A, R]] = deque()
        self._run: asyncio.Task[None] | None = None

    async def ask(self, call: A) -> R:
        """Have one call answered; raises what the work raises for it."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answer))
        if self._run is None:
            self._run = asyncio.create_task(self._work_through())
        return await answer

    async def _work_through(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, results = await loop.run_in_executor(self._thread, self._next)
                _settle(batch, results)
        finally:
            self._run = None

    def _next(self) -> tuple[list[Waiting[A, R]], Sequence[R | _Failed]]:
        """Take a batch and answer it. It is taken here, in the thread: while that was not free, more have come."""
        batch: list[Waiting[A, R]] = []
        while self._waiting and len(batch) < self._largest:
            call, answer = self._waiting.popleft()
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
