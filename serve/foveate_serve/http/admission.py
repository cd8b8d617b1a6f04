"""Bounds on what a replica takes: how many requests at once, from where, and how large and slow their bodies are.

A server that takes everything answers nothing in time: turning the rest away at once keeps what it can do.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foveate_serve.http.problems import problem

_ALWAYS: Final = "/health/"
"""Paths that stay open when all places are taken: who looks after the server must not lose sight of it."""
_WRITTEN: Final = ("/v1/events", "/v1/items")


class ConcurrencyLimit:
    """How many requests one replica works on at a time: slates and all else, and apart from these, what is to be kept.

    Parameters
    ----------
    limit
        Requests that bring nothing to be kept.
    events
        Requests that bring events or items; None takes ``limit``. Apart, because a store that is slow to write holds
        them up.
    """

    def __init__(self, limit: int, events: int | None = None) -> None:
        self._limits = {False: limit, True: limit if events is None else events}
        self._taken = {False: 0, True: 0}
        # Made once: what is turned away must cost next to nothing.
        self._refusals: Final[dict[bool, ASGIApp]] = {
            kind: problem("overloaded", f"{most} requests are under way in this replica")
            for kind, most in self._limits.items()
        }

    def refuses(self, scope: Scope) -> bool:
        """Whether a request needs a place and finds none."""
        kind = _writes(scope)
        return _needs_one(scope) and self._taken[kind] >= self._limits[kind]

    async def refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 503, and say when to try again."""
        await self._refusals[_writes(scope)](scope, receive, send)

    @contextmanager
    def taken(self, scope: Scope) -> Iterator[Callable[[], None]]:
        """Give a request that needs one a place until the block ends, or what is yielded is called."""
        kind, one = _writes(scope), int(_needs_one(scope))
        self._taken[kind] += one

        def leave() -> None:
            nonlocal one
            self._taken[kind] -= one
            one = 0

        try:
            yield leave
        finally:
            leave()


def _needs_one(scope: Scope) -> bool:
    return scope["type"] == "http" and not scope["path"].startswith(_ALWAYS)


def _writes(scope: Scope) -> bool:
    return scope["type"] == "http" and scope.get("method") != "GET" and str(scope["path"]).startswith(_WRITTEN)


class Admission:
    """Middleware that turns away what comes when all places are taken.

    A request leaves its place when its answer is made: who is slow to read it holds nobody up.
    """

    def __init__(self, app: ASGIApp, concurrency: ConcurrencyLimit) -> None:
        self._app = app
        self._concurrency = concurrency

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or turn it away."""
        if self._concurrency.refuses(scope):
            await self._concurrency.refuse(scope, receive, send)
            return
        with self._concurrency.taken(scope) as leave:

            async def sending(message: Message) -> None:
                leave()
                await send(message)

            await self._app(scope, receive, sending)


class OnlyThisMachine:
    """Middleware that answers 403 to other machines.

    Behind HAProxy, Ray Serve lets replicas listen on all interfaces whatever host was asked for.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and not _is_loopback(scope.get("client")):
            answer = problem("forbidden", "this server answers its own machine alone: start it with --host 0.0.0.0")
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_loopback(client: tuple[str, int] | None) -> bool:
    # A client without an address came through a socket of this machine.
    return client is None or is_loopback(client[0])


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
