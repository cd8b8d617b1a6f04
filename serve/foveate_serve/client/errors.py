"""Errors of the client.

::

    FoveateError
    └── ApiError                 the server answered with a problem
        ├── InvalidRequestError  400, 413, 422: the request must be mended
        ├── AccessError          401, 403: no key, or one that may not do this
        ├── MissingError         404, 405: nothing of that name
        ├── BusyError            408, 429, 503, 504: try again, after ``retry_after`` seconds
        └── UnreachableError     no answer came
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import httpx
from pydantic import ValidationError

from foveate.core.errors import FoveateError
from foveate_serve.http.schemas.base import Problem

_SHOWN: Final = 300


class ApiError(FoveateError):
    """The server answered with a problem.

    Parameters
    ----------
    problem
        Its problem details; of an answer that has none, what could be made of it.
    retry_after
        Seconds to wait before another try, None where the server does not say.
    """

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(f"{problem.status} {problem.code}: {problem.detail}")
        self.problem = problem
        self.retry_after = retry_after


class InvalidRequestError(ApiError):
    """The request must be mended."""


class AccessError(ApiError):
    """No key was shown, or one that may not do this."""


class MissingError(ApiError):
    """Nothing of that name is known."""


class BusyError(ApiError):
    """The server cannot answer now."""


class UnreachableError(ApiError):
    """No answer came."""


_KINDS: Final[Mapping[int, type[ApiError]]] = MappingProxyType(
    {
        **dict.fromkeys((400, 413, 422), InvalidRequestError),
        **dict.fromkeys((401, 403), AccessError),
        **dict.fromkeys((404, 405), MissingError),
        **dict.fromkeys((408, 429, 503, 504), BusyError),
    }
)


def error_of(answer: httpx.Response) -> ApiError:
    """Return what an answer that is no success raises."""
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        # Something between client and server answered, such as a proxy.
        problem = _made_up(answer.status_code, answer.reason_phrase, answer.text[:_SHOWN])
    kind = _KINDS.get(answer.status_code, ApiError)
    wait = answer.headers.get("retry-after", "")
    return kind(problem, float(wait) if wait.isdigit() else None)


def unreachable(error: httpx.TransportError) -> UnreachableError:
    """Return what is raised where no answer came."""
    return UnreachableError(_made_up(0, "No answer", str(error) or type(error).__name__))


def _made_up(status: int, title: str, detail: str) -> Problem:
    return Problem(type="about:blank", title=title, status=status, detail=detail or title, code="unknown")
