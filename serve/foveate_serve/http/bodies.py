"""Read a request's body before anything is set aside for it: within a time, and within bounds for one and for all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foveate_serve.http.problems import problem

BODY_S: Final = 5.0
"""Seconds from a request's head until its body must be whole."""
FREE: Final = 8_192
"""Bytes of each body that do not count against what all may hold: a request for a slate has fewer."""
BODIES_AT_ONCE: Final = 32
"""How many bodies of the longest length a process holds at a time."""

_BODILESS: Final = ("GET", "HEAD", "OPTIONS", "DELETE")
_CLOSE: Final = {"connection": "close"}


class BodyBudget:
    """The bytes that the bodies of all requests of one process may hold together."""

    def __init__(self, total: int) -> None:
        self.left = total

    def reserve(self, size: int) -> bool:
        """Set bytes aside; return whether there are so many."""
        if size > self.left:
            return False
        self.left -= size
        return True

    def give(self, size: int) -> None:
        """Give bytes back."""
        self.left += size


class BodyReader:
    """Middleware that passes a request on once its body is whole.

    A body that is too long is answered 413, one that takes too long 408, and one for which there is no room 503; the
    connection is closed in each case, so that nothing more of it is read. Only what is sent to ``/v1/`` has a body.

    Parameters
    ----------
    limit
        Most bytes of one body, whatever its header says.
    budget
        What all bodies may hold together; by default :data:`BODIES_AT_ONCE` of the longest.
    timeout_s
        Seconds until a body must be whole.
    """

    def __init__(self, app: ASGIApp, limit: int, budget: BodyBudget | None = None, timeout_s: float = BODY_S) -> None:
        self._app = app
        self._limit = limit
        self._budget = budget or BodyBudget(BODIES_AT_ONCE * limit)
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body and pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] in _BODILESS or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        body = _Body(self._limit, self._budget)
        try:
            refusal = _too_long(self._limit) if _declared(scope) > self._limit else await self._read(body, receive)
            if refusal is not None:
                await refusal(scope, receive, send)
            elif body.whole:
                await self._app(scope, body.replayed(receive), send)
        finally:
            body.release()

    async def _read(self, body: _Body, receive: Receive) -> ASGIApp | None:
        """Read a body; return what answers where it is not to be had."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await body.read(receive)
        except TimeoutError:
            detail = f"the body was not whole after {self._timeout_s:g} seconds"
            return problem("body_timeout", detail, headers=_CLOSE)


class _Body:
    """One body as far as it has come."""

    def __init__(self, limit: int, budget: BodyBudget) -> None:
        self._limit = limit
        self._budget = budget
        self._taken = 0
        self._content = bytearray()
        self.whole = False
        """Whether all of it is there; a client that is gone sends no more."""

    async def read(self, receive: Receive) -> ASGIApp | None:
        """Read to the end; return what answers where there is no room for it."""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            self._content += message.get("body", b"")
            if len(self._content) > self._limit:
                return _too_long(self._limit)
            counted = max(0, len(self._content) - FREE) - self._taken
            if counted > 0 and not self._budget.reserve(counted):
                return problem("overloaded", "too many large bodies are being read: try again", headers=_CLOSE)
            self._taken += max(0, counted)
            if not message.get("more_body", False):
                self.whole = True
                return None

    def replayed(self, receive: Receive) -> Receive:
        """Return what gives the whole body as one message, and then what comes after it."""
        left: list[Message] = [{"type": "http.request", "body": bytes(self._content), "more_body": False}]
        self._content.clear()

        async def again() -> Message:
            return left.pop() if left else await receive()

        return again

    def release(self) -> None:
        """Give back what the body held."""
        self._budget.give(self._taken)
        self._taken = 0


def _declared(scope: Scope) -> int:
    """Return the length that a request's header says, 0 where it says none."""
    with suppress(ValueError):
        return int(Headers(scope=scope).get("content-length", "0"))
    return 0


def _too_long(limit: int) -> ASGIApp:
    return problem("body_too_large", f"the body may have {limit} bytes at most", headers=_CLOSE)
