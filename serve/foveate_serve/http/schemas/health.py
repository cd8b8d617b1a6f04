"""Schemas of the server's health."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field

from foveate_serve.http.schemas.base import Reply


def place_mark(place: str) -> str:
    """Return a mark by which a folder or an address is known without being named."""
    return hashlib.sha256(place.encode()).hexdigest()[:16]


class LiveOut(Reply):
    """The process answers."""

    status: Literal["live"] = "live"


class PartOut(Reply):
    """What one replica holds."""

    deployment: str
    bundle_id: str | None
    previous: str | None
    problem: str | None = Field(
        description="Why the last bundle it was told to load is not in use, or why viewers' state cannot be used."
    )
    refused: bool = Field(description="Whether it tried to load that bundle and could not.")
    asked: str | None = Field(
        default=None, description="A mark of the folder or address that it was told to load last; see place_mark."
    )


class ReadyOut(Reply):
    """Whether requests can be answered, and by which bundle."""

    ready: bool
    bundle_id: str | None
    parts: list[PartOut]
