"""Environment variables: Ray and W&B read some of their settings from nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def environment(values: Mapping[str, str], *, keep: bool = False) -> Iterator[None]:
    """Set variables and put them back; ``keep`` leaves alone what the user has set."""
    before = {name: os.environ.get(name) for name in values}
    ours = {name: value for name, value in values.items() if not keep or before[name] is None}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            old = before[name]
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


def prepare_to_join() -> None:
    """Have Ray show its token to a cluster where one is to be found, and leave it to us to say what went wrong.

    Ray 2.60 asks for a token wherever a cluster was started by default, and does not show its own by default. A cluster
    that asks for none lets a client with one in as well. Ray reads this when it is imported, so it must be set before;
    what the user has set stays.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    set_by_user = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)
    if set_by_user or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
