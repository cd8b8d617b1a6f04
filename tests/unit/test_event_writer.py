"""Events have threads and a deadline of their own, and what is not kept is said."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from foveate.core.errors import StateError
from foveate.state.base import ViewerEvent
from foveate_serve.stages.writer import EventWriter
from loop_time import pass_time

EVENT = ViewerEvent("u", "i", "like")


class Store:
    """Keeps events when it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.kept = 0

    def append(self, events: Sequence[ViewerEvent]) -> int:
        self.begun.set()
        self.go.wait()
        self.kept += len(events)
        return len(events)


def test_a_store_that_cannot_be_written_holds_events_up_for_their_deadline_alone() -> None:
    async def run() -> None:
        store = Store()
        writer = EventWriter(store, threads=1, deadline_s=60)  # type: ignore[arg-type] # all that it asks for
        try:
            begun = asyncio.create_task(writer.append([EVENT]))
            assert await asyncio.to_thread(store.begun.wait, 60)
            waits = asyncio.create_task(writer.append([EVENT]))
            await asyncio.sleep(0)
            pass_time(61)
            with pytest.raises(StateError, match="may be kept"):
                await begun
            with pytest.raises(StateError, match="nothing was kept"):
                await waits
            # Work of other threads goes on meanwhile.
            assert await asyncio.to_thread(lambda: "slate") == "slate"
        finally:
            store.go.set()
            writer.close()
        assert store.kept == 1, "what was given up before it was begun is not written later"

    asyncio.run(run())


def test_what_the_store_says_comes_back() -> None:
    async def run() -> int:
        store = Store()
        store.go.set()
        writer = EventWriter(store, threads=2, deadline_s=60)  # type: ignore[arg-type] # as above
        return await writer.append([EVENT, EVENT])

    assert asyncio.run(run()) == 2
