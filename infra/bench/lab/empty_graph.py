"""Serve graphs of Foveate's shapes that do nothing: what Serve itself costs; and the shape of Ray's own benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request

ROWS, COLUMNS = 32, 39


class Stage:
    """Gives back what it is given."""

    async def answer(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values."""
        return values


class Front:
    """Asks both stages one after the other, if there are any."""

    def __init__(self, *stages: DeploymentHandle[Any]) -> None:
        self._stages = stages

    async def __call__(self, request: Request) -> dict[str, int]:
        """Answer one request."""
        await request.body()
        values = np.zeros(200, dtype=np.float32)
        for stage in self._stages:
            values = await stage.answer.remote(values)
        return {"items": len(values)}


class BatchedRanker:
    """Scores rows of features by one matrix, many requests at a time."""

    def __init__(self) -> None:
        self._weights = np.random.default_rng(0).normal(size=(COLUMNS, 64)).astype(np.float32)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.0)
    async def answer(self, rows: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Score each request's rows."""
        scores = np.maximum(np.concatenate(rows) @ self._weights, 0.0).sum(axis=1)
        return np.split(scores, len(rows))


class RankingFront:
    """Builds the rows of a request and asks the ranker."""

    def __init__(self, ranker: DeploymentHandle[Any]) -> None:
        self._ranker = ranker

    async def __call__(self, request: Request) -> dict[str, float]:
        """Answer one request."""
        await request.body()
        rows = np.ones((ROWS, COLUMNS), dtype=np.float32)
        scores = await self._ranker.answer.remote(rows)
        return {"best": float(np.max(scores))}


def fused(args: dict[str, Any]) -> serve.Application:
    """Build one deployment that answers by itself."""
    return _bound(Front, "front", args["replicas"])


def split(args: dict[str, Any]) -> serve.Application:
    """Build a front and two stages in replicas of their own."""
    return _bound(Front, "front", args["replicas"], *(_bound(Stage, name, 1) for name in ("first", "second")))


def published(args: dict[str, Any]) -> serve.Application:
    """Build the shape of Ray's own recommendation benchmark: two fronts, one batched ranker."""
    return _bound(RankingFront, "front", args["replicas"], _bound(BatchedRanker, "ranker", 1))


def _bound(cls: type, name: str, replicas: int, *stages: serve.Application) -> serve.Application:
    options: dict[str, Any] = {
        "num_replicas": replicas,
        "max_ongoing_requests": 1000,
        "ray_actor_options": {"num_cpus": 0.1},
    }
    deployment: serve.Deployment = serve.deployment(name=name, **options)(cls)
    return deployment.bind(*stages)
