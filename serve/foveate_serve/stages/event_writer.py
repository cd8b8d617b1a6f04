"""Events on their way into the store, in threads of their own: a store that is slow to write holds up no slate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from foveate.core.errors import StateError
from foveate.state.base import ViewerEvent, ViewerState

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
