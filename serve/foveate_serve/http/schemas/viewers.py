"""What is answered over HTTP of a viewer who was erased."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from foveate_serve.http.schemas.base import Reply


class StoreErasureOut(Reply):
    """What was erased from one store."""

    place: str
    events: int
    requests: int
    sessions: int = Field(description="Anonymous requests among 'requests': the viewer's events named them.")
    wiped: bool = Field(description="Whether the bytes are gone from the disk.")
    remainder: str = Field(default="", description="Where they are not: when they will be.")


class ExportErasureOut(Reply):
    """How one export followed."""

    name: str
    done: bool
    rows: int = 0
    change: str = Field(default="", description="SHA-256 of the change on the export's chain.")
    remainder: str = Field(default="", description="Where it is not done: why, and when it will be.")


class BundleTraceOut(Reply):
    """A bundle that may have learned from the viewer."""

    bundle_id: str
    learned: Literal["yes", "unknown"]
    data_hash: str = ""


class ErasureOut(Reply):
    """What came of an erasure; the store keeps the whole certificate under 'erasure_id'."""

    erasure_id: str
    nonce: str
    viewer: str = Field(description="SHA-256 of the nonce, a colon and the viewer's id.")
    erased_at: datetime
    done: bool = Field(description="Whether nothing is left to do; where something is, ask again later.")
    stores: list[StoreErasureOut]
    exports: list[ExportErasureOut] = Field(default=[], description="Every export that the store knows of.")
    bundles: list[BundleTraceOut] = Field(
        default=[], description="The bundles that may have learned from the viewer: train anew to be rid of that."
    )
