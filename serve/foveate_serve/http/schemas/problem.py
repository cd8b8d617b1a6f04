"""Every answer that is not a success: RFC 9457, Problem Details for HTTP APIs, sections 3.1 and 3.2."""

from __future__ import annotations

from pydantic import Field

from foveate_serve.http.schemas.base import Reply

MEDIA_TYPE = "application/problem+json"


class FieldFault(Reply):
    """What is wrong with one part of a request."""

    field: str = Field(description="Where, such as 'body.filters.region'.")
    message: str


class Problem(Reply):
    """What went wrong, for a program (``code``) and for a person (``detail``)."""

    type: str = Field(description="Address of a page about this kind of problem, relative to the server.")
    title: str = Field(description="The kind in words; always the same for one code.")
    status: int
    detail: str
    code: str
    errors: list[FieldFault] | None = Field(default=None, description="With status 422: every fault of the request.")
