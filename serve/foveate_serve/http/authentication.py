"""Asks every request for its key before anything of it is read: who it is, what it may, and how often."""

from __future__ import annotations

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

from foveate_serve.http import keys
from foveate_serve.http.authorization import KEY_STATE
from foveate_serve.http.key_file import KeyFile
from foveate_serve.http.keys import Key
from foveate_serve.http.problems import PAGES, RETRY_AFTER, problem

OPEN: Final = ("/health/", PAGES, "/docs", "/redoc", "/openapi.json")
"""Paths that need no key begin like this."""

_SCOPES: Final[tuple[tuple[str, str, keys.Scope], ...]] = (
    ("POST", "/v1/recommend", "read"),
    ("POST", "/v1/why-not", "inspect"),
    ("GET", "/v1/surfaces", "read"),
    ("GET", "/v1/items/", "read"),
    ("POST", "/v1/events", "write"),
)
"""What a method on paths that begin so needs; anything that is not named needs ``admin``."""


class Authentication:
    """Middleware that lets only keys of a file in.

    Parameters
    ----------
    path
        The file; see :class:`foveate_serve.http.key_file.KeyFile`.
    clock
        Gives seconds.
    """

    def __init__(self, app: ASGIApp, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._file = KeyFile(path, clock)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"].startswith(OPEN):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        """Return what answers where the request is refused; else leave its key with it."""
        kind, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        key = self._file.current().of(secret.strip()) if kind.lower() == "bearer" else None
        if key is None:
            realm = {"WWW-Authenticate": 'Bearer realm="foveate"'}
            return problem("unauthorized", "this server asks for a key: 'Authorization: Bearer KEY'", headers=realm)
        needed = _scope_of(scope["method"], scope["path"])
        if not key.may(needed):
            return problem("forbidden", f"the key '{key.key_id}' lacks the scope '{needed}'")
        scope["state"] = {**scope.get("state", {}), KEY_STATE: key}
        return self._too_many(key)

    def _too_many(self, key: Key) -> JSONResponse | None:
        limit = key.limit
        if limit is None or self._limiter.hit(limit, key.key_id):
            return None
        wait = math.ceil(max(0.0, self._limiter.get_window_stats(limit, key.key_id).reset_time - time.time())) or 1
        detail = f"the key '{key.key_id}' may make {key.rate} requests"
        return problem("rate_limited", detail, headers={RETRY_AFTER: str(wait)})


def _scope_of(method: str, path: str) -> keys.Scope:
    return next((scope for verb, start, scope in _SCOPES if verb == method and path.startswith(start)), "admin")
