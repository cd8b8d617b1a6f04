"""What the OpenAPI page tells beyond the routes: problem details, and a page about each kind of problem."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from foveate.errors import NotFoundError
from foveate_serve.problems import KINDS, PAGES, documented
from foveate_serve.wire_base import Reply
from foveate_serve.wire_problem import Problem


class ProblemKindOut(Reply):
    """A kind of problem: what ``type`` in an answer points to."""

    code: str
    status: int
    title: str
    remedy: str


def add_problem_pages(api: FastAPI) -> None:
    """Add the pages that a problem's ``type`` points to."""

    @api.get(
        f"{PAGES}{{code}}",
        summary="About a kind of problem",
        tags=["problems"],
        responses=documented("not_found", "invalid_request"),
    )
    async def problem_kind(code: str) -> ProblemKindOut:
        if code not in KINDS:
            raise NotFoundError(f"no kind of problem is called '{code[:64]}'. Known: {', '.join(KINDS)}.")
        kind = KINDS[code]
        return ProblemKindOut(code=code, status=kind.status, title=kind.title, remedy=kind.remedy)


def complete(api: FastAPI) -> None:
    """Add to the page what routes only point to."""
    plain = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            page = plain()
            _, problem = models_json_schema([(Problem, "serialization")], ref_template="#/components/schemas/{model}")
            page["components"]["schemas"].update(problem["$defs"])
            api.openapi_schema = page
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]
