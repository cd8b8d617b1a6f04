"""Many calls in one: while a batch is worked on, the next one gathers. An idle batcher starts at once."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeAlias, TypeVar

from foveate_serve.bundles.slots import Held, Slots
from foveate_serve.telemetry import Telemetry

A = TypeVar("A")
R = TypeVar("R")
Call = TypeVar("Call", bound=tuple[Any, ...])
Waiting: TypeAlias = tuple[A, "asyncio.Future[R]"]
Done: TypeAlias = "tuple[list[Waiting[A, R]], Sequence[R | _Failed]]"


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
    key
        Calls of one batch have it in common: by default all have.
    spare
        How many more threads of its own it may use, each for a batch that comes while all before it are late.
    late_s
        Seconds after which a batch is late, and the next one does not wait for it where a thread is spare.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[A]], Sequence[R]],
        largest: int,
        thread: ThreadPoolExecutor | None = None,
        *,
        key: Callable[[A], Hashable] | None = None,
        spare: int = 0,
        late_s: float | None = None,
    ) -> None:
        self._work = work
        self._largest = largest
        self._thread = thread or ThreadPoolExecutor(1 + spare, thread_name_prefix=name)
        self._key = key
        self._spare = spare
        self._late_s = late_s
        self._waiting: deque[Waiting[A, R]] = deque()
        self._late: set[asyncio.Future[Done[A, R]]] = set()
        self._run: asyncio.Task[None] | None = None

    def ask(self, call: A) -> asyncio.Future[R]:
        """Have one call answered; the future raises what the work raises for it, and whoever gives up cancels it."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answer))
        if self._run is None:
            self._run = asyncio.create_task(self._work_through())
        return answer

    async def _work_through(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                done = loop.run_in_executor(self._thread, self._next)
                if not self._spare:
                    _settle(await done)
                    continue
                self._late.add(done)
                done.add_done_callback(self._ended)
                # With every thread at a late batch, the next one waits for whichever is free first.
                full = len(self._late) > self._spare
                await asyncio.wait(
                    self._late if full else {done},
                    timeout=None if full else self._late_s,
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            self._run = None

    def _ended(self, done: asyncio.Future[Done[A, R]]) -> None:
        self._late.discard(done)
        if not done.cancelled():
            _settle(done.result())

    def _next(self) -> Done[A, R]:
        """Take a batch and answer it. It is taken here, in the thread: while that was not free, more have come."""
        batch = self._taken()
        calls = [call for call, _ in batch]
        try:
            return batch, self._work(calls) if calls else []
        except Exception as error:
            if len(calls) == 1:
                return batch, [_Failed(error)]
        return batch, [self._alone(call) for call in calls]

    def _taken(self) -> list[Waiting[A, R]]:
        """Take the oldest calls that have their key in common; the others keep their order."""
        batch: list[Waiting[A, R]] = []
        others: list[Waiting[A, R]] = []
        while len(batch) < self._largest:
            try:
                one = self._waiting.popleft()
            except IndexError:
                break
            if one[1].done():
                continue
            same = self._key is None or not batch or self._key(one[0]) == self._key(batch[0][0])
            (batch if same else others).append(one)
        self._waiting.extendleft(reversed(others))
        return batch

    def _alone(self, call: A) -> R | _Failed:
        try:
            [answer] = self._work([call])
        except Exception as error:
            return _Failed(error)
        return answer


def _settle(done: Done[A, R]) -> None:
    for (_, answer), result in zip(*done, strict=True):
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


class Batched(ABC, Generic[Held, Call, R]):
    """A stage over the bundles, or the shards of bundles, of one replica. A call's last part is its context.

    Parameters
    ----------
    slots
        What this replica holds.
    largest
        Most requests of one batch.
    telemetry
        Where it tells what it does.
    thread
        Where batches are worked on; None takes a thread of its own.
    """

    name: str

    def __init__(
        self,
        slots: Slots[Held],
        largest: int,
        telemetry: Telemetry | None = None,
        thread: ThreadPoolExecutor | None = None,
    ) -> None:
        self._slots = slots
        self._telemetry = telemetry or Telemetry.unseen()
        self._batcher: Batcher[Call, R] = Batcher(
            self.name, self._answers, largest, thread, key=lambda call: call[-1].bundle_id
        )

    @abstractmethod
    def _answers(self, calls: Sequence[Call]) -> Sequence[R]:
        """Answer calls that pin one bundle, in their order."""
