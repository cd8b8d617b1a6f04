"""A stage that may be lost or slow: it is asked within a time, and not at all while it has just failed others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException

from foveate.core.errors import FoveateError

S = TypeVar("S")

_REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (TimeoutError, "slow"),
    (BackPressureError, "overloaded"),
    (RayServeException, "lost"),
    (RayError, "lost"),
)
"""What a failure is called; the first that fits, any other is 'failed'."""

PATIENCE_S: Final = 0.25
"""Seconds that a stage of a server has before it counts as late, where its own deadline gives it as many."""


class LostError(Exception):
    """A stage did not answer; ``reason`` says why, and ``cause`` in whose words."""

    def __init__(self, name: str, reason: str, cause: Exception) -> None:
        super().__init__(f"{name}_{reason}")
        self.reason = reason
        self.cause = cause


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

    def record(self, *, well: bool) -> None:
        """Note how asking went."""
        self._in_a_row = 0 if well else self._in_a_row + 1
        if self._in_a_row >= self._failures:
            self._next_try = self._clock() + self._pause_s


class Guarded(Generic[S]):
    """A stage and its breaker, which all requests of a replica share.

    Parameters
    ----------
    name
        Of the stage.
    stage
        Who is asked.
    patience_s
        Seconds that a stage must have had before its being late counts against it: a client in a hurry, or a stage that
        left the next one little time, must not cost others their answers.
    """

    def __init__(self, name: str, stage: S, patience_s: float = 0.0) -> None:
        self.name = name
        self.stage = stage
        self.breaker = Breaker()
        self._patience_s = patience_s

    @asynccontextmanager
    async def within(self, seconds: float, *, counted: bool = True) -> AsyncIterator[S]:
        """Cover the asking of the stage; the block is given up after some seconds.

        Parameters
        ----------
        counted
            Whether how it goes counts for or against the stage; not where it is asked for more than usual.

        Raises
        ------
        LostError
            The stage is lost, slow or failed, or has just failed others.
        FoveateError
            It answered that the request cannot be met.
        """
        if not self.breaker.may_ask():
            raise LostError(self.name, "lost", TimeoutError(f"the {self.name} has just failed other requests"))
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                yield self.stage
        except FoveateError:
            raise
        except Exception as error:
            if counted and (seconds >= self._patience_s or not isinstance(error, TimeoutError)):
                self.breaker.record(well=False)
            raise LostError(self.name, _reason(error), error) from error
        if counted:
            self.breaker.record(well=True)


def _reason(error: Exception) -> str:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "failed")
