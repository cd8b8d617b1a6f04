"""Turning away what finds no place before Ray Serve has done its part of the work for it.

Ray writes down, times and follows each request before the application sees it, which costs more than the refusal
itself. It calls :func:`middlewares` in each of its processes that listen to HTTP, by the name in
``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH``, and puts what that returns before all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Final

from ray import serve
from ray.serve.exceptions import RayServeException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from foveate_serve.web.admission import Places

_ORIGIN: Final = b"origin"
_RAYS: Final = "/-/"
"""How the paths begin that Ray answers."""


class Threshold:
    """Middleware that asks the places of the replica it stands before; elsewhere it passes everything on.

    What Ray itself answers is passed on, such as the proxy's question whether the replica is well. So is a browser's
    request of another site: the application's own refusal says whether that site may read it.

    Parameters
    ----------
    find
        Tells the places; None asks Ray for those of this replica.
    """

    def __init__(self, app: ASGIApp, find: Callable[[], Places | None] | None = None) -> None:
        self._app = app
        self._find = find or _of_replica

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or turn it away."""
        places = self._places
        if places is not None and places.refuses(scope) and not _is_for_others(scope):
            await places.refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    @cached_property
    def _places(self) -> Places | None:
        # Asked for with the first request: Ray listens before it says what it serves.
        return self._find()


def middlewares() -> list[Middleware]:
    """Return what Ray puts before its own."""
    return [Middleware(Threshold)]


def _of_replica() -> Places | None:
    try:
        served = serve.get_replica_context().servable_object
    except RayServeException:
        # One of Serve's proxies.
        return None
    found = getattr(served, "places", None)
    return found if isinstance(found, Places) else None


def _is_for_others(scope: Scope) -> bool:
    return scope["path"].startswith(_RAYS) or any(name == _ORIGIN for name, _ in scope["headers"])
