"""Who is let in at all: no more requests than can be answered in time, and from this machine alone where that is meant.

A server that takes everything answers nothing in time: turning the rest away at once keeps what it can do.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from foveate_serve.web.problems import problem

_ALWAYS: Final = "/health/"
"""Paths that stay open when all places are taken: who looks after the server must not lose sight of it."""


class Places:
    """The places of one replica: as many requests as it works on at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        # Made once: what is turned away must cost next to nothing.
        self.refusal: Final[ASGIApp] = problem("overloaded", f"{limit} requests are under way in this replica")
        """Answers 503, and says when to try again."""

    def refuses(self, scope: Scope) -> bool:
        """Whether a request needs a place and finds none."""
        return self._taken >= self._limit and _needs_one(scope)

    @contextmanager
    def taken(self, scope: Scope) -> Iterator[None]:
        """Give a request that needs one a place for as long as the block lasts."""
        one = int(_needs_one(scope))
        self._taken += one
        try:
            yield
        finally:
            self._taken -= one


def _needs_one(scope: Scope) -> bool:
    return scope["type"] == "http" and not scope["path"].startswith(_ALWAYS)


class Admission:
    """Middleware that turns away what comes when all places are taken."""

    def __init__(self, app: ASGIApp, places: Places) -> None:
        self._app = app
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or turn it away."""
        if self._places.refuses(scope):
            await self._places.refusal(scope, receive, send)
            return
        with self._places.taken(scope):
            await self._app(scope, receive, send)


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
