"""Time that passes on the event loop when a test says so: a deadline ends without a wait, however busy the machine."""

from __future__ import annotations

import asyncio


def pass_time(seconds: float) -> None:
    """Set the running event loop's clock forward: what waits until then goes on at once."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]
