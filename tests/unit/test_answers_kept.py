"""What a user would notice: which showing an answer names, and that no stage makes it late."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import httpx
from ray.serve.handle import DeploymentHandle

from foveate.bundle import Bundle, default_state
from foveate.core.config import to_dict
from foveate.core.messages import RecommendRequest, Slate
from foveate.state.base import impression_id
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate_serve.config import ServeConfig
from foveate_serve.ingress import Ingress
from foveate_serve.names import BUNDLE_KEY
from loop_time import pass_time


class Never:
    """A handle of replicas that never answer."""

    def __getattr__(self, method: str) -> Never:
        return self

    def remote(self, *args: Any) -> Never:
        return Never()

    def __await__(self) -> Generator[Any, None, Any]:
        # The time of the whole request passes as soon as they are waited for.
        pass_time(100)
        return asyncio.Event().wait().__await__()

    def cancel(self) -> None:
        pass


def test_an_answer_names_each_showing_as_it_is_kept(
    small_bundle: Bundle,
    tmp_path: Path,
    serving: Callable[[Bundle, Path, ServeConfig], AbstractContextManager[httpx.Client]],
) -> None:
    state = tmp_path / "state.sqlite"
    shutil.copyfile(default_state(small_bundle.path), state)
    with serving(small_bundle, state, ServeConfig(topology="fused", deadline_ms=60_000)) as http:
        answer = http.post("/v1/recommend", json={"user_id": "u00017", "k": 7}).json()
    # What was shown is written when the server has ended at the latest.
    with SqliteImpressions(state) as kept:
        shown = kept.read(answer["request_id"]).slate.items
    told = [(item["item_id"], item["impression_id"]) for item in answer["items"]]
    assert told == [(item.item_id, impression_id(answer["request_id"], place)) for place, item in enumerate(shown)]
    assert len({*dict(told).values()}) == 7


def test_stages_that_never_answer_make_no_answer_late(small_bundle: Bundle, tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    shutil.copyfile(default_state(small_bundle.path), state)
    stages = [cast("DeploymentHandle[Any]", Never()) for _ in range(2)]

    async def ask() -> Slate:
        made = Ingress(to_dict(ServeConfig(deadline_ms=60_000)), str(state), *stages)
        await made.reconfigure({BUNDLE_KEY: str(small_bundle.path)})
        # Without a deadline of their own the stages would be waited for as long as this.
        async with asyncio.timeout(150):
            slate, _, _ = await made.recommend(RecommendRequest("u00017", k=5))
        return slate

    slate = asyncio.run(ask())
    assert len(slate.items) == 5
    assert "retriever_slow" in slate.degraded
