"""Impressions that are written after the reply."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from foveate.core.messages import RecommendRequest, RequestContext, Slate
from foveate.recommend.pipeline import make_context
from foveate.state.base import ServedRequest
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate_serve.stages.writer import ImpressionWriter
from loop_time import pass_time


def served(number: int) -> ServedRequest:
    request = RecommendRequest(f"u{number}")
    context: RequestContext = make_context(request, "b", clock=lambda: number, request_id=f"r{number:03}")
    slate = Slate(context.request_id, request.user_id, "b", "p", "f", (), state_version=0)
    return ServedRequest(request, context, slate)


class Counting(SqliteImpressions):
    """Notes how many come in one transaction, and refuses some."""

    sizes: Sequence[int] = ()
    refuse: int = 0

    def write(self, served: Sequence[ServedRequest]) -> None:
        """Write or refuse."""
        self.sizes = (*self.sizes, len(served))
        if len(self.sizes) <= self.refuse:
            raise OSError("no space")
        super().write(served)


def test_what_comes_within_a_moment_is_written_at_once_and_nothing_is_left_at_the_end(
    tmp_path: Path,
) -> None:
    async def serve(writer: ImpressionWriter) -> None:
        async with writer.running():
            for number in range(20):
                writer.add(served(number))
                await asyncio.sleep(0)
            pass_time(61)

    with Counting(tmp_path / "state.sqlite") as kept:
        asyncio.run(serve(ImpressionWriter(kept, gather_s=60)))
        assert kept.sizes == (20,)
        assert kept.request_ids() == [f"r{number:03}" for number in reversed(range(20))]


def test_what_cannot_be_written_is_told_and_the_next_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(writer: ImpressionWriter) -> None:
        async with writer.running():
            for number in range(4):
                writer.add(served(number))
            await asyncio.sleep(0)

    with Counting(tmp_path / "state.sqlite") as kept:
        kept.refuse = 1
        with caplog.at_level("ERROR", "ray.serve"):
            asyncio.run(serve(ImpressionWriter(kept, batch=2, gather_s=0.0)))
        assert kept.sizes == (2, 2)
        assert kept.request_ids() == ["r003", "r002"]
        assert "impressions of 2 requests could not be written" in caplog.text


def test_what_waits_for_a_store_has_bounds_and_what_is_lost_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(writer: ImpressionWriter) -> None:
        async with writer.running():
            for number in range(6):
                writer.add(served(number))

    with Counting(tmp_path / "state.sqlite") as kept, caplog.at_level("ERROR", "ray.serve"):
        asyncio.run(serve(ImpressionWriter(kept, gather_s=0.0, most=4)))
        assert kept.request_ids() == ["r003", "r002", "r001", "r000"]
    assert "impressions are lost: 4 requests wait" in caplog.text
    assert "impressions of 2 requests were lost" in caplog.text
