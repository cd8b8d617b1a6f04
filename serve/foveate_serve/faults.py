"""Every answer that is not a success: one shape of JSON, with a code for programs and a message for people."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from starlette.exceptions import HTTPException

from foveate.errors import FoveateError, NotFoundError, RequestError, StateError
from foveate_serve import wire
from foveate_serve.holder import BundleNotHeldError

logger = logging.getLogger("ray.serve")

FAULTS: dict[int | str, dict[str, Any]] = {
    code: {"model": wire.ErrorOut, "description": text}
    for code, text in {
        404: "Nothing of that name is known",
        413: "The body is too large",
        422: "The request is malformed",
        503: "Not ready: try again",
        504: "The deadline has passed",
    }.items()
}
"""For the OpenAPI page."""


class NotReadyError(FoveateError):
    """No bundle is loaded yet."""


# The most special class first: the first that fits an error decides.
_ANSWERS: tuple[tuple[type[Exception], int, str], ...] = (
    (NotFoundError, 404, "not_found"),
    (RequestError, 422, "invalid_request"),
    (NotReadyError, 503, "not_ready"),
    (BundleNotHeldError, 503, "not_ready"),
    (StateError, 503, "state_unavailable"),
    (TimeoutError, 504, "deadline_exceeded"),
    (RayServeException, 503, "overloaded"),
    (RayError, 503, "replica_lost"),
)


def fault(status: int, code: str, message: str) -> JSONResponse:
    """Return one error answer."""
    body = wire.ErrorOut(error=wire.Fault(code=code, message=message))
    return JSONResponse(body.model_dump(), status_code=status)


def add_faults(api: FastAPI) -> None:
    """Answer every error of ``api`` in the one shape."""
    for kind, status, code in _ANSWERS:
        api.add_exception_handler(kind, _answer(status, code))
    api.add_exception_handler(RequestValidationError, _malformed)
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(Exception, _bug)


def _answer(status: int, code: str) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def handler(request: Request, error: Exception) -> JSONResponse:
        del request
        said = str(error) if isinstance(error, FoveateError) else _SAYINGS[code]
        if status >= 500:
            logger.error("%s: %s", code, error)
        return fault(status, code, said)

    return handler


_SAYINGS = {
    "deadline_exceeded": "the answer was not ready before the deadline",
    "overloaded": "too many requests wait, or a replica is being replaced: try again",
    "replica_lost": "a replica was lost: try again",
}


async def _malformed(request: Request, error: Exception) -> JSONResponse:
    del request
    found = cast("RequestValidationError", error).errors()
    faults = [f"{'.'.join(map(str, one['loc'][1:])) or one['loc'][0]}: {one['msg']}" for one in found]
    more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
    return fault(422, "invalid_request", "; ".join(faults[:5]) + more)


async def _http(request: Request, error: Exception) -> JSONResponse:
    known = cast("HTTPException", error)
    code = {404: "not_found", 405: "method_not_allowed"}.get(known.status_code, "invalid_request")
    return fault(known.status_code, code, f"{request.method} {request.url.path}: {known.detail}")


async def _bug(request: Request, error: Exception) -> JSONResponse:
    # Starlette logs the traceback after this; the client learns nothing of our insides.
    del request, error
    return fault(500, "internal", "the server failed; its log says why")
