"""Signals that end a verb which stays up: Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def _terminate(number: int, frame: object) -> None:
    del number, frame
    raise Terminated


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM interrupt like Ctrl-C, and both even where a shell or Ray has set them otherwise."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
