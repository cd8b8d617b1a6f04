"""The kinds of problems that an answer can tell of, and how one is written: RFC 9457."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from starlette.responses import JSONResponse

from foveate_serve.http.schemas.base import MEDIA_TYPE, FieldFault, Problem

PAGES: Final = "/problems/"
"""Where the page about a kind of problem lies: this and its code."""

RETRY_AFTER: Final = "Retry-After"
_WAIT_S: Final = "1"
_PLACE: Final = re.compile(r"(?<=')(?:\w+:/)?/[^']+(?=')|(?<![\w.])(?:\w+:/)?/[^\s'\",;()]+")
_LISTED: Final = 100
"""Faults of one request that are told, at most."""
_LONGEST: Final = 300
"""Characters of one message, at most: some of it is the client's own."""


@dataclass(frozen=True)
class Kind:
    """One kind of problem: its HTTP status, what it is, and what to do about it."""

    status: int
    title: str
    remedy: str


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "malformed": Kind(400, "The body is not JSON", "Send UTF-8 JSON with content-type application/json."),
        "invalid_cursor": Kind(400, "The cursor is none of this server's", "Ask for the first page, without a cursor."),
        "unauthorized": Kind(401, "No valid key", "Send 'Authorization: Bearer KEY' with a key that was not revoked."),
        "forbidden": Kind(403, "Not allowed", "The answer says what would be needed."),
        "not_found": Kind(404, "Nothing of that name is known", "Check the id or the path."),
        "method_not_allowed": Kind(405, "The path knows no such method", "The header Allow names those that it knows."),
        "body_timeout": Kind(408, "The body did not come in time", "Send it at once, or less at a time."),
        "body_too_large": Kind(413, "The body is too large", "Send less at a time."),
        "invalid_request": Kind(422, "The request is invalid", "Mend what 'errors' names."),
        "rate_limited": Kind(429, "Too many requests of this key", "Wait as long as Retry-After says."),
        "internal": Kind(500, "The server failed", "Its log says why."),
        "not_ready": Kind(503, "No bundle is loaded", "Try again: it is being loaded."),
        "state_unavailable": Kind(503, "The store of viewers cannot be used", "Try again; its log says why."),
        "overloaded": Kind(503, "Too many requests at once", "Wait as long as Retry-After says."),
        "replica_lost": Kind(503, "A replica was lost", "Try again: another one takes over."),
        "deadline_exceeded": Kind(504, "The deadline has passed", "Try again, or allow more time."),
    }
)


def problem(
    code: str,
    detail: str,
    *,
    status: int | None = None,
    errors: Sequence[FieldFault] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return one error answer.

    Parameters
    ----------
    code
        One of :data:`KINDS`.
    status
        Instead of the kind's own.
    errors
        Every fault of an invalid request.
    """
    kind = KINDS[code]
    body = Problem(
        type=f"{PAGES}{code}",
        title=kind.title,
        status=status or kind.status,
        detail=plain(detail),
        code=code,
        errors=None if errors is None else [*errors][:_LISTED],
    )
    waits = {RETRY_AFTER: _WAIT_S} if body.status in (429, 503) else {}
    return JSONResponse(
        body.model_dump(exclude_none=True),
        status_code=body.status,
        headers={**waits, **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def field_fault(field: str, message: str) -> FieldFault:
    """Return what is wrong with one part of a request."""
    return FieldFault(field=plain(field), message=plain(message))


def plain(text: str) -> str:
    """Return a text that JSON can hold and a page can show: half a character of a client must not break the answer."""
    whole = text.encode("utf-8", "replace").decode()
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}…"


def without_paths(text: str) -> str:
    """Return a message with the last part alone of each path and address in it: the rest is no stranger's business."""
    return _PLACE.sub(lambda found: found[0].rstrip("/").rpartition("/")[2], text)


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return these kinds of problems as the OpenAPI page describes them, those of one status together."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        kind = KINDS[code]
        example = {"type": f"{PAGES}{code}", "title": kind.title, "status": kind.status, "code": code}
        media = by_status.setdefault(kind.status, _described(kind))["content"][MEDIA_TYPE]
        media["examples"][code] = {"summary": kind.title, "value": {**example, "detail": kind.remedy}}
    return by_status


def _described(kind: Kind) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    response: dict[str, Any] = {"description": kind.title, "content": {MEDIA_TYPE: {"schema": schema, "examples": {}}}}
    if kind.status in (429, 503):
        wait = {"description": "Seconds to wait.", "required": True, "schema": {"type": "string"}}
        response["headers"] = {RETRY_AFTER: wait}
    return response
