"""Concurrency limits of a replica, and the refusal of other machines' requests where only this one is meant.

A server that takes everything answers nothing in time: turning the rest away at once keeps what it can do.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

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
