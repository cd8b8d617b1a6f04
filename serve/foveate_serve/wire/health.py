"""What goes over HTTP of the server itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from foveate_serve.wire.base import Reply


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
    asked: str | None = Field(default=None, description="The folder that it was told to load last.")


class ReadyOut(Reply):
    """Whether requests can be answered, and by which bundle."""

    ready: bool
    bundle_id: str | None
    parts: list[PartOut]
