"""Asks every request for its key before anything of it is read: who it is, what it may, and how often."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from fastapi import Request
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from foveate.core.errors import FoveateError
from foveate_serve.http import keys
from foveate_serve.http.keys import Key, KeyFile
from foveate_serve.http.problems import PAGES, RETRY_AFTER, problem
from foveate_serve.http.schemas.ask import AskIn

KEY_STATE: Final = "key"
"""Under which name a request's state holds its key."""


class ForbiddenError(FoveateError):
    """A key may not ask for this."""


def key_of(request: Request) -> Key | None:
    """Return the key that a request has shown, None where none is asked for."""
    key: Key | None = request.scope.get("state", {}).get(KEY_STATE)
    return key


def may_inspect(key: Key | None) -> bool:
    """Whether explanations and other moments are open to a key."""
    return key is None or key.may("inspect")


def check_ask(key: Key | None, ask: AskIn) -> None:
    """Refuse what a key may not ask of a slate.

    Raises
    ------
    ForbiddenError
        The key lacks the scope ``inspect`` and names a moment, or it is bound to another viewer, or to sessions.
    """
    if key is None:
        return
    if ask.now is not None:
        check_inspects(key, "'now'")
    if ask.user_id is not None:
        check_viewers(key, [ask.user_id])
    elif key.viewer is not None and ask.history is not None:
        raise ForbiddenError(f"the key '{key.key_id}' is bound to one viewer, and this asks for a session")


def check_inspects(key: Key | None, what: str) -> None:
    """Refuse what needs the scope ``inspect``.

    Raises
    ------
    ForbiddenError
        The key lacks it.
    """
    if key is not None and not may_inspect(key):
        raise ForbiddenError(f"the key '{key.key_id}' lacks the scope 'inspect', which {what} needs")


def check_viewers(key: Key | None, user_ids: Iterable[str]) -> None:
    """Refuse a bound key the viewers that are not its own.

    Raises
    ------
    ForbiddenError
        It is bound to another viewer, or to sessions.
    """
    if key is None:
        return
    if key.sessions:
        raise ForbiddenError(f"the key '{key.key_id}' is bound to sessions: it may name no viewer")
    if key.viewer is not None and any(user_id != key.viewer for user_id in user_ids):
        raise ForbiddenError(f"the key '{key.key_id}' is bound to another viewer")


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
        The file; see :class:`foveate_serve.http.keys.KeyFile`.
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
