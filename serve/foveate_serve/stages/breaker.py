"""Spares requests the wait for a stage that has just failed others."""

from __future__ import annotations

import time
from collections.abc import Callable


class Breaker:
    """Opens after some failures in a row; then one request in a while may try.

    Parameters
    ----------
    failures
        How many in a row open it.
    pause_s
        Seconds between the tries while it is open.
    clock
        Gives seconds.
    """

    def __init__(self, failures: int = 3, pause_s: float = 0.5, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures = failures
        self._pause_s = pause_s
        self._clock = clock
        self._in_a_row = 0
        self._next_try = 0.0

    def may_ask(self) -> bool:
        """Whether this request should ask the stage."""
        if self._in_a_row < self._failures:
            return True
        now = self._clock()
        if now < self._next_try:
            return False
        self._next_try = now + self._pause_s
        return True

    def told(self, *, well: bool) -> None:
        """Note how asking went."""
        self._in_a_row = 0 if well else self._in_a_row + 1
        if self._in_a_row >= self._failures:
            self._next_try = self._clock() + self._pause_s
