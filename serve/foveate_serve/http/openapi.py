"""Additions to the OpenAPI page: problem details, and a page about each kind of problem."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from foveate.core.errors import NotFoundError
from foveate_serve.http.authentication import OPEN
from foveate_serve.http.problems import KINDS, PAGES, documented
from foveate_serve.http.schemas.base import Problem, Reply


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


def complete(api: FastAPI, *, keyed: bool) -> None:
    """Add to the page what routes only point to, and where a key is asked for if any is (``keyed``)."""
    plain = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            page = plain()
            _, problem = models_json_schema([(Problem, "serialization")], ref_template="#/components/schemas/{model}")
            page["components"]["schemas"].update(problem["$defs"])
            if keyed:
                _ask_for_keys(page)
            api.openapi_schema = page
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]


def _ask_for_keys(page: dict[str, Any]) -> None:
    scheme = {"type": "http", "scheme": "bearer", "description": "A key that 'foveate keys add' made."}
    page["components"]["securitySchemes"] = {"key": scheme}
    for path, operations in page["paths"].items():
        if not path.startswith(OPEN):
            for operation in operations.values():
                operation["security"] = [{"key": []}]
