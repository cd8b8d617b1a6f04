"""Scopes of a key beyond the path: explanations, another moment, and other viewers' data.

Where no keys are asked for, everyone may ask for everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fastapi import Request

from foveate.core.errors import FoveateError
from foveate_serve.http.keys import Key
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
