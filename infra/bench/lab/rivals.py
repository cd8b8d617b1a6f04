"""What the serving benchmark runs beside Foveate's server, each a web application for uvicorn.

``lean`` does the same work by the same stages and batchers, with nothing around them but a parser of JSON. ``naive`` is
what one writes first: FastAPI, the library, one request at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI
from pydantic import BaseModel

from foveate.bundle import Bundle, default_state
from foveate.core.config import to_dict
from foveate.core.messages import RecommendRequest, Slate
from foveate.recommend.pipeline import LocalStages, make_context, recommend
from foveate.state.base import ServedRequest, utc_micros
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.store import SqliteState
from foveate_serve.config import ServeConfig
from foveate_serve.ingress import Ingress
from foveate_serve.names import BUNDLE_KEY

BUNDLE_VARIABLE = "FOVEATE_BENCH_BUNDLE"
"""Names the bundle's folder: uvicorn's workers learn nothing else of who started them."""


def _bundle() -> Path:
    return Path(os.environ[BUNDLE_VARIABLE])


def lean() -> Any:
    """Return the leanest application over the same stages."""
    torch.set_num_threads(1)
    path = _bundle()
    ingress = Ingress(to_dict(ServeConfig(topology="fused")), str(default_state(path)))

    async def app(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(ingress, path, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        asked = json.loads(body)
        request = RecommendRequest(asked["user_id"], k=asked["k"])
        slate, context, bundle = await ingress.recommend(request)
        ingress.record(request, context, slate)
        answer = json.dumps(_plain(slate, bundle)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


async def _lifespan(ingress: Ingress, path: Path, receive: Any, send: Any) -> None:
    await receive()
    await ingress.reconfigure({BUNDLE_KEY: str(path)})
    async with ingress.running():
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


class Asked(BaseModel):
    """The body of a request."""

    user_id: str
    k: int = 10


def naive() -> FastAPI:
    """Return the application that answers one request at a time."""
    torch.set_num_threads(1)
    bundle = Bundle.load(_bundle())
    state = SqliteState(default_state(bundle.path))
    impressions = SqliteImpressions(default_state(bundle.path))
    app = FastAPI()

    @app.post("/v1/recommend")
    async def answer(asked: Asked) -> dict[str, Any]:
        request = RecommendRequest(asked.user_id, k=asked.k)
        context = make_context(request, bundle.bundle_id, clock=utc_micros)
        slate = await recommend(request, context, LocalStages(bundle.model, state))
        impressions.write([ServedRequest(request, context, slate)])
        return _plain(slate, bundle)

    return app


def _plain(slate: Slate, bundle: Bundle) -> dict[str, Any]:
    shown = bundle.model.catalog.shown([item.item_id for item in slate.items])
    items = [
        {
            "item_id": item.item_id,
            "position": item.position,
            "score": item.score,
            "sources": item.sources,
            "title": title,
            "channel_id": channel_id,
        }
        for item, (title, channel_id) in zip(slate.items, shown, strict=True)
    ]
    return {"request_id": slate.request_id, "bundle_id": slate.bundle_id, "items": items}
