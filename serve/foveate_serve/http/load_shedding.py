"""Load shedding: overload is rejected before Ray Serve's per-request overhead.

Ray writes down, times and follows each request before the application sees it, which costs more than a refusal: what
is too much is turned away before. Ray calls :func:`middlewares` in each of these processes, by the name in
``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``, and puts what that returns before all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Final

from ray import serve
from ray.serve.exceptions import RayServeException
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foveate_serve.http.admission import BodyReader, ConcurrencyLimit
from foveate_serve.http.connections import bound_connections
from foveate_serve.http.problems import problem

_ORIGIN: Final = b"origin"
_RAYS: Final = "/-/"
"""How the paths begin that Ray answers."""
_OURS: Final = "/v1/"
_LONGEST_PROXIED: Final = 16_000_000
"""Bytes of a body that one of Serve's proxies reads; the replica has its own bound, which the proxy does not know."""


class LoadShedding:
    """Middleware that asks the places of the replica it stands before; in Serve's own proxy it bounds what is read.

    What Ray itself answers is passed on, such as the proxy's question whether the replica is well. So is a browser's
    request of another site: the application's own refusal says whether that site may read it.

    Parameters
    ----------
    find
        Tells the places; None asks Ray for those of this replica.
    """

    def __init__(self, app: ASGIApp, find: Callable[[], ConcurrencyLimit | None] | None = None) -> None:
        self._app = app
        self._find = find or _of_replica
        self._proxied = BodyReader(Unready(app), _LONGEST_PROXIED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or turn it away."""
        concurrency = self._concurrency
        if concurrency is not None and concurrency.refuses(scope) and not _is_for_others(scope):
            await concurrency.refuse(scope, receive, send)
            return
        await (self._proxied if self._is_proxy else self._app)(scope, receive, send)

    @cached_property
    def _concurrency(self) -> ConcurrencyLimit | None:
        # Asked for with the first request: Ray listens before it says what it serves.
        return self._find()

    @cached_property
    def _is_proxy(self) -> bool:
        return self._concurrency is None and not _is_replica()


class Unready:
    """Middleware of Serve's own proxy: what it answers itself on our paths, it answers as nobody can answer yet."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and put a problem in the place of the proxy's own words."""
        if scope["type"] != "http" or not scope["path"].startswith(_OURS):
            await self._app(scope, receive, send)
            return
        replaced = False

        async def sending(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start":
                replaced = message["status"] >= 400 and _is_plain(message)
                if replaced:
                    await problem("not_ready", "no replica can be asked yet: try again")(scope, receive, send)
            if not replaced:
                await send(message)

        await self._app(scope, receive, sending)


def middlewares() -> list[Middleware]:
    """Bound the connections of this process, and return what Ray puts before its own."""
    bound_connections()
    return [Middleware(LoadShedding)]


def _is_plain(message: Message) -> bool:
    """Whether an answer is plain text, as no answer of the application is."""
    return Headers(raw=[*message.get("headers", [])]).get("content-type", "text/plain").startswith("text/plain")


def _is_replica() -> bool:
    try:
        serve.get_replica_context()
    except RayServeException:
        return False
    return True


def _of_replica() -> ConcurrencyLimit | None:
    try:
        served = serve.get_replica_context().servable_object
    except RayServeException:
        # One of Serve's proxies.
        return None
    found = getattr(served, "concurrency", None)
    return found if isinstance(found, ConcurrencyLimit) else None


def _is_for_others(scope: Scope) -> bool:
    return scope["path"].startswith(_RAYS) or any(name == _ORIGIN for name, _ in scope["headers"])
