"""The base of all schemas. Times on the wire are RFC 3339 with an offset; inside they are UTC microseconds.

Server and client read the same models, so nothing heavy may be imported by a ``wire`` file.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Id = Annotated[str, Field(min_length=1, max_length=256)]


def _text(value: Any) -> Any:
    if not isinstance(value, (str, datetime)):
        raise ValueError("must be a text such as 2025-03-17T18:00:00Z")
    return value


def _in_range(moment: datetime) -> datetime:
    if not 1970 <= moment.year <= 2200:
        raise ValueError("must lie between the years 1970 and 2200")
    return moment


# JSON has no dates: strict mode would refuse every text, and without it a number would do.
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_text), AfterValidator(_in_range)]
"""A time that a client names."""


class Wire(BaseModel):
    """Base of what a client sends: an unknown field is refused, and a number is never read from a text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Reply(BaseModel):
    """Base of what a server answers: a client overlooks what a newer server tells beyond it."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


def to_micros(moment: datetime) -> int:
    """Return UTC microseconds since 1970, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Return the moment of UTC microseconds since 1970."""
    return EPOCH + timedelta(microseconds=micros)


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
