"""What is written for a viewer: events, together, before they are acknowledged, and what was shown, after the reply."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

from foveate.core.errors import StateError
from foveate.state.base import ImpressionSink, ServedRequest, ViewerEvent, ViewerState

logger = logging.getLogger("ray.serve")

_LATE: Final = "the store of viewers did not take the events in time: {}, try again"


class EventWriter:
    """Adds events to viewers' histories within a deadline.

    Parameters
    ----------
    state
        Where events are kept.
    threads
        How many writes may wait for the store at a time; the store gathers them in one transaction.
    deadline_s
        Seconds until a write is given up. The store has a shorter time of its own where it knows what it has kept.
    """

    def __init__(self, state: ViewerState, threads: int, deadline_s: float) -> None:
        self._state = state
        self._deadline_s = deadline_s
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="events")

    async def append(self, events: Sequence[ViewerEvent]) -> int:
        """Add events, all or none; return how many were new.

        Raises
        ------
        StateError
            The store did not take them in time; the message says whether anything may have been kept.
        """
        write = self._threads.submit(self._state.append, events)
        done, _ = await asyncio.wait([asyncio.wrap_future(write)], timeout=self._deadline_s)
        if done:
            return done.pop().result()
        # One that waits for a thread was not begun.
        if write.cancel():
            raise StateError(_LATE.format("nothing was kept"))
        raise StateError(_LATE.format("they may be kept yet, so with the same event ids"))

    def close(self) -> None:
        """Wait for what is being written."""
        self._threads.shutdown()


BATCH: Final = 256
GATHER_S: Final = 0.05
MOST_WAITING: Final = 10_000


class ImpressionWriter:
    """A queue before an :class:`~foveate.state.base.ImpressionSink`.

    Parameters
    ----------
    sink
        Where impressions are kept.
    batch
        Most requests to write in one transaction.
    gather_s
        Seconds that the first of a transaction waits for others: each transaction costs as much as several requests.
        As much of what was shown is lost where the process is killed.
    most
        Requests that wait to be written, at most: memory has an end, and a store may be away for long.
    """

    def __init__(
        self, sink: ImpressionSink, batch: int = BATCH, gather_s: float = GATHER_S, most: int = MOST_WAITING
    ) -> None:
        self._sink = sink
        self._batch = batch
        self._gather_s = gather_s
        self._queue: asyncio.Queue[ServedRequest] = asyncio.Queue(most)
        self._lost = 0

    def add(self, served: ServedRequest) -> None:
        """Hand over one served request; returns at once. What there is no more room for is lost, and that is said."""
        try:
            self._queue.put_nowait(served)
        except asyncio.QueueFull:
            if not self._lost:
                logger.error("impressions are lost: %d requests wait for the store already", self._queue.qsize())
            self._lost += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write what is handed over during the block; what is left at its end is written before it ends."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await self._queue.join()
            task.cancel()

    async def _run(self) -> None:
        while True:
            served = [await self._queue.get()]
            await asyncio.sleep(self._gather_s)
            while len(served) < self._batch and not self._queue.empty():
                served.append(self._queue.get_nowait())
            try:
                await asyncio.to_thread(self._sink.write, served)
            except Exception:
                # Serving goes on without a record; what is lost is said, never hidden.
                logger.exception("impressions of %d requests could not be written and are lost", len(served))
            else:
                if self._lost:
                    logger.error(
                        "impressions of %d requests were lost while the store could not be written", self._lost
                    )
                    self._lost = 0
            finally:
                for _ in served:
                    self._queue.task_done()
