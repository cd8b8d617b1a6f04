"""Servers of this user on this machine: what ``foveate serve`` leaves for verbs that speak to it from another terminal.

A cluster that ``foveate serve`` starts lets in only who knows its token. The note is readable by the user alone, as
Ray's own file of the token is, and goes with the server.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import click

from foveate.core.errors import ConfigError

F = TypeVar("F", bound=Callable[..., object])

_TOKEN: Final = "RAY_AUTH_TOKEN"  # noqa: S105 - the name of a variable


def port_option(command: F) -> F:
    """Add ``--port PORT`` of a server that was started on this machine."""
    return click.option(
        "--port",
        type=click.IntRange(1, 65535),
        default=8000,
        show_default=True,
        help="Port of the server that 'foveate serve' started here.",
    )(command)


@contextmanager
def known(url: str, dashboard: str) -> Iterator[None]:
    """Leave a note of a server while the block runs."""
    place = _place(urlsplit(url).port or 0)
    content = {"url": url, "dashboard": dashboard, "token": os.environ.get(_TOKEN), "pid": os.getpid()}
    # Without a note the server serves all the same; other terminals must then name --address.
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.unlink(missing_ok=True)
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            json.dump(content, stream)
    try:
        yield
    finally:
        with suppress(OSError):
            place.unlink(missing_ok=True)


def dashboard_of(port: int) -> str:
    """Return the dashboard of the server on a port of this machine, and have Ray show its token.

    Raises
    ------
    ConfigError
        ``foveate serve`` runs on no such port.
    """
    try:
        note = json.loads(_place(port).read_text(encoding="utf-8"))
        dashboard, token = str(note["dashboard"]), note["token"]
    except (OSError, ValueError, KeyError) as error:
        remedy = "name another --port, or the cluster's --address"
        raise ConfigError(f"no server that 'foveate serve' started here answers on port {port}: {remedy}") from error
    if token:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ[_TOKEN] = token
    return dashboard


def _place(port: int) -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or Path.home() / ".cache") / "foveate" / f"serving-{port}.json"
