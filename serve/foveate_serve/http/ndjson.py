"""Batches as one JSON object a line, as log shippers send them: read as the list that the same call takes."""

from __future__ import annotations

from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foveate_serve.http.problems import problem

TYPES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
_LISTS: Final = {"/v1/events": b"events", "/v1/items": b"items"}
"""By the path of a call, the field of its body that holds the list."""


class NdjsonReader:
    """Middleware that turns a body of lines into the JSON that the call takes; it needs the body whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body as JSON."""
        name = _LISTS.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if name is None or Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower() not in TYPES:
            await self._app(scope, receive, send)
            return
        message = await receive()
        rows = [(number, line.strip()) for number, line in enumerate(message.get("body", b"").split(b"\n"), start=1)]
        rows = [(number, line) for number, line in rows if line]
        wrong = next((number for number, line in rows if not (line.startswith(b"{") and line.endswith(b"}"))), None)
        if wrong is not None:
            refusal = problem("malformed", f"line {wrong} is no JSON object: send one object a line")
            await refusal(scope, receive, send)
            return
        body = b'{"' + name + b'":[' + b",".join(line for _, line in rows) + b"]}"
        await self._app(_as_json(scope, len(body)), _instead(message, body, receive), send)


def _as_json(scope: Scope, length: int) -> Scope:
    scope = {**scope, "headers": list(scope["headers"])}
    headers = MutableHeaders(scope=scope)
    headers["content-type"] = "application/json"
    headers["content-length"] = str(length)
    return scope


def _instead(message: Message, body: bytes, receive: Receive) -> Receive:
    left = [{**message, "body": body}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again


def described() -> dict[str, Any]:
    """Return what the page of a call that takes lines says beside its JSON."""
    text = {
        "schema": {"type": "string", "description": "One JSON object a line, as the list of the JSON body has them."}
    }
    return {"requestBody": {"content": {TYPES[0]: text}}}
