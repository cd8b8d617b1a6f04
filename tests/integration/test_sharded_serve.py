"""Items in two shards on a real Ray Serve: same slates, and what is said when one of them is killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from foveate.bundle import Bundle, default_state
from foveate.core.errors import ServingError
from foveate.core.messages import RecommendRequest
from foveate.recommend.pipeline import LocalStages, make_context, recommend
from foveate.state.sqlite.store import SqliteState
from foveate_serve.app import started
from foveate_serve.config import ServeConfig, ShardsConfig
from foveate_serve.names import APPLICATION
from foveate_serve.operations.running import Running
from new_items import shows_and_goes

pytestmark = pytest.mark.cluster

NOW = "2025-03-17T00:00:00Z"
NOW_MICROS = 1_742_169_600_000_000
TOLERANCE = 1e-4
DEADLINE_MS = 6000
"""Long enough for a busy machine, and shorter than a replica takes to come back."""


@dataclass(frozen=True)
class Server:
    running: Running
    http: httpx.Client
    bundle: Bundle
    state: Path

    def ask(self, user: str, **more: Any) -> dict[str, Any]:
        answer = self.http.post("/v1/recommend", json={"user_id": user, "k": 10, "now": NOW, "seed": 1, **more})
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def users(self, count: int) -> list[str]:
        with SqliteState(self.state) as state:
            return state.users(count)

    def pid(self, deployment: str) -> int:
        details = ServeSubmissionClient(self.running.dashboard).get_serve_details()["applications"][APPLICATION]
        [replica] = details["deployments"][deployment]["replicas"]
        return int(replica["pid"])


@pytest.fixture(scope="module")
def server(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = tmp_path_factory.mktemp("sharded") / "state.sqlite"
    shutil.copyfile(default_state(small_bundle.path), state)
    shards = ShardsConfig(count=2)
    # What lies before the replicas does not matter here; without HAProxy they share no ports with those of other tests.
    config = ServeConfig(port=0, proxy="python", deadline_ms=DEADLINE_MS, start_timeout_s=240.0, shards=shards)
    with (
        started(small_bundle.path, state, config) as running,
        httpx.Client(base_url=running.url(), timeout=60) as http,
    ):
        yield Server(running, http, small_bundle, state)


def ids(slate: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in slate["items"]]


def test_served_out_of_shards_slates_are_those_of_the_whole(server: Server) -> None:
    parts = server.running.health()[1]
    assert {part["deployment"] for part in parts} == {"ingress", "ranker", "retriever", "shard-0", "shard-1"}
    with SqliteState(server.state) as state:
        for user in (*server.users(20), "a stranger"):
            request = RecommendRequest(user, k=10, now=NOW_MICROS, seed=1)
            context = make_context(request, server.bundle.bundle_id, clock=lambda: NOW_MICROS)
            offline = asyncio.run(recommend(request, context, LocalStages(server.bundle.model, state)))
            served = server.ask(user)
            assert served["degraded"] == []
            assert ids(served) == [item.item_id for item in offline.items]
            assert [item["sources"] for item in served["items"]] == [list(item.sources) for item in offline.items]
            np.testing.assert_allclose(
                [item["score"] for item in served["items"]], [item.score for item in offline.items], atol=TOLERANCE
            )


def test_a_slate_out_of_shards_is_explained(server: Server) -> None:
    [user] = server.users(1)
    told = server.ask(user, explain=True)["items"]
    assert any(one["explanation"]["history"] for one in told)
    body = {"user_id": user, "k": 10, "now": NOW, "seed": 1, "item_id": told[0]["item_id"]}
    assert server.http.post("/v1/why-not", json=body).json()["where"] == "shown"


def test_without_one_shard_the_answer_comes_in_time_says_so_and_all_is_well_again_later(server: Server) -> None:
    users = server.users(10)
    before = {user: ids(server.ask(user)) for user in users}
    os.kill(server.pid("shard-1"), signal.SIGKILL)
    told, began = [], time.monotonic()
    for user in users:
        asked = time.monotonic()
        slate = server.ask(user)
        assert time.monotonic() - asked < DEADLINE_MS / 1000
        assert len(slate["items"]) == 10
        assert slate["degraded"] in ([], ["coverage_0.50"])
        told.append(tuple(slate["degraded"]))
    assert told[0] == ("coverage_0.50",)
    if server.ask(users[0])["degraded"]:
        refused = server.http.post("/v1/recommend", json={"user_id": users[0], "explain": True})
        # The shard may be back by now.
        if refused.status_code != 200:
            assert (refused.status_code, refused.json()["code"]) == (503, "replica_lost")
            assert "coverage_0.50" in refused.json()["detail"]
    while server.ask(users[0])["degraded"] and time.monotonic() < began + 120:
        time.sleep(0.5)
    assert {user: ids(server.ask(user)) for user in users} == before


def test_a_new_bundle_is_taken_by_the_shards_too(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "next"
    new = Bundle.save(server.bundle.model, path, data_hash="", parent=server.bundle.bundle_id)
    before = server.ask(server.users(1)[0])
    server.running.swap(str(path))
    give_up = time.monotonic() + 60
    # The only replica of each steps aside while it loads.
    while held(server) != {new.bundle_id} and time.monotonic() < give_up:
        time.sleep(0.2)
    after = server.ask(before["user_id"])
    assert (after["bundle_id"], after["degraded"]) == (new.bundle_id, [])
    assert ids(after) == ids(before)


def held(server: Server) -> set[str]:
    try:
        return {part["bundle_id"] for part in server.running.health()[1]}
    except ServingError:
        return set()


def test_an_item_that_is_put_is_in_every_replicas_answers_and_goes_when_it_is_withdrawn(server: Server) -> None:
    shows_and_goes(server.http, server.bundle)
