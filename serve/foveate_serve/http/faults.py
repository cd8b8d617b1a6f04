"""Every answer that is not a success, as problem details: a code for programs and a message for people."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from starlette.exceptions import HTTPException

from foveate.core.errors import FoveateError, NotFoundError, RequestError, StateError
from foveate.recommend.explain import StageLostError
from foveate_serve.bundles.slots import BundleNotHeldError
from foveate_serve.http.authentication import ForbiddenError
from foveate_serve.http.paging import CursorError
from foveate_serve.http.problems import KINDS, field_fault, problem, without_paths
from foveate_serve.http.schemas.base import FieldFault

logger = logging.getLogger("ray.serve")


class NotReadyError(FoveateError):
    """No bundle is loaded yet."""


# The most special class first: the first that fits an error decides.
_ANSWERS: tuple[tuple[type[Exception], str], ...] = (
    (ForbiddenError, "forbidden"),
    (CursorError, "invalid_cursor"),
    (NotFoundError, "not_found"),
    (NotReadyError, "not_ready"),
    (BundleNotHeldError, "not_ready"),
    (StageLostError, "replica_lost"),
    (StateError, "state_unavailable"),
    (TimeoutError, "deadline_exceeded"),
    (RayServeException, "overloaded"),
    (RayError, "replica_lost"),
)

_SAYINGS = {
    "deadline_exceeded": "the answer was not ready before the deadline",
    "overloaded": "too many requests wait, or a replica is being replaced: try again",
    "replica_lost": "a replica was lost: try again",
    "state_unavailable": "the store of viewers cannot be used now: try again, events with the same event ids",
}

_UNSPOKEN = ("state_unavailable",)
"""What the errors of these themselves say names files and addresses, which are no business of a client's."""

_BY_STATUS = {400: "malformed", 404: "not_found", 405: "method_not_allowed"}


def add_faults(api: FastAPI) -> None:
    """Answer every error of ``api`` in the one shape."""
    for kind, code in _ANSWERS:
        api.add_exception_handler(kind, _answer(code))
    api.add_exception_handler(RequestError, _refused)
    api.add_exception_handler(RequestValidationError, _malformed)
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(Exception, _bug)


def _answer(code: str) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def handler(request: Request, error: Exception) -> JSONResponse:
        del request
        spoken = isinstance(error, FoveateError) and code not in _UNSPOKEN
        detail = str(error) if spoken else _SAYINGS[code]
        answer = problem(code, without_paths(detail) if KINDS[code].status >= 500 else detail)
        if answer.status_code >= 500:
            logger.error("%s: %s", code, error)
        return answer

    return handler


async def _refused(request: Request, error: Exception) -> JSONResponse:
    del request
    return problem("invalid_request", str(error), errors=[field_fault("body", str(error))])


async def _malformed(request: Request, error: Exception) -> JSONResponse:
    del request
    found = cast("RequestValidationError", error).errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problem(
            "malformed", f"the body is not JSON: {found[0].get('ctx', {}).get('error', 'it cannot be read')}"
        )
    faults = [_field_fault(one) for one in found]
    return problem("invalid_request", _summary(faults), errors=faults)


def _field_fault(found: Any) -> FieldFault:
    return field_fault(".".join(map(str, found["loc"])), found["msg"])


def _summary(faults: Sequence[FieldFault]) -> str:
    shown = [f"{fault.field}: {fault.message}" for fault in faults[:3]]
    return "; ".join(shown) + (f" (and {len(faults) - 3} more)" if len(faults) > 3 else "")


async def _http(request: Request, error: Exception) -> JSONResponse:
    known = cast("HTTPException", error)
    code = _BY_STATUS.get(known.status_code, "internal" if known.status_code >= 500 else "invalid_request")
    detail = f"{request.method} {request.url.path}: {known.detail}"
    return problem(code, detail, status=known.status_code, headers=known.headers)


async def _bug(request: Request, error: Exception) -> JSONResponse:
    # Starlette logs the traceback after this; the client learns nothing of our insides.
    del request, error
    return problem("internal", "the server failed; its log says why")
