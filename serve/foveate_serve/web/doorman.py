"""Asks every request for its key before anything of it is read: who it is, what it may, and how often."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from foveate.errors import ConfigError
from foveate_serve.web import keys
from foveate_serve.web.keys import Key, Keys
from foveate_serve.web.problems import PAGES, RETRY_AFTER, problem

logger = logging.getLogger("ray.serve")

OPEN: Final = ("/health/", PAGES, "/docs", "/redoc", "/openapi.json")
"""Paths that need no key begin like this."""

_SCOPES: Final[tuple[tuple[str, str, keys.Scope], ...]] = (
    ("POST", "/v1/recommend", "read"),
    ("POST", "/v1/why-not", "read"),
    ("GET", "/v1/surfaces", "read"),
    ("GET", "/v1/items/", "read"),
    ("POST", "/v1/events", "write"),
)
"""What a method on paths that begin so needs; anything that is not named needs ``admin``."""

_LOOK_S: Final = 1.0
"""Seconds between two looks whether the file has changed."""


class Doorman:
    """Middleware that lets only keys of a file in.

    Parameters
    ----------
    path
        The file. A change is seen within a second; one that cannot be read leaves the keys as they were.
    clock
        Gives seconds.
    """

    def __init__(self, app: ASGIApp, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._path = path
        self._clock = clock
        self._looked = clock()
        self._stamp = _stamp(path)
        self._keys = Keys.read(path)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"].startswith(OPEN):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        kind, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        key = self._current().of(secret.strip()) if kind.lower() == "bearer" else None
        if key is None:
            realm = {"WWW-Authenticate": 'Bearer realm="foveate"'}
            return problem("unauthorized", "this server asks for a key: 'Authorization: Bearer KEY'", headers=realm)
        needed = _scope_of(scope["method"], scope["path"])
        if not key.may(needed):
            return problem("forbidden", f"the key '{key.key_id}' lacks the scope '{needed}'")
        return self._too_many(key)

    def _too_many(self, key: Key) -> JSONResponse | None:
        limit = key.limit
        if limit is None or self._limiter.hit(limit, key.key_id):
            return None
        wait = math.ceil(max(0.0, self._limiter.get_window_stats(limit, key.key_id).reset_time - time.time())) or 1
        told = f"the key '{key.key_id}' may make {key.rate} requests"
        return problem("rate_limited", told, headers={RETRY_AFTER: str(wait)})

    def _current(self) -> Keys:
        if self._clock() - self._looked < _LOOK_S:
            return self._keys
        self._looked, stamp = self._clock(), _stamp(self._path)
        if stamp != self._stamp:
            try:
                self._keys, self._stamp = Keys.read(self._path), stamp
            except ConfigError as error:
                logger.error("%s: the keys stay as they were", error)
        return self._keys


def _scope_of(method: str, path: str) -> keys.Scope:
    return next((scope for verb, start, scope in _SCOPES if verb == method and path.startswith(start)), "admin")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino
