"""The shadow over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI

from foveate_serve.http.schemas.shadow import ShadowOut


def add_shadow(api: FastAPI, report: Callable[[], Awaitable[Mapping[str, object]]]) -> None:
    """Add what ``report`` tells; there is such a page only where there is a shadow."""

    @api.get("/v1/shadow", summary="How a second bundle would have answered", tags=["shadow"])
    async def shadow() -> ShadowOut:
        return ShadowOut.model_validate(await report())
