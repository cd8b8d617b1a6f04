"""Both topologies answer alike, and no answer is made by two bundles, however often they are swapped."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from foveate.bundle import Bundle, default_state
from foveate.core.messages import PastEvent, RecommendRequest
from foveate.data.dataset import Dataset
from foveate.recommend.pipeline import LocalStages, make_context, recommend
from foveate.state.sqlite.store import SqliteState
from foveate.training import fit_model
from foveate_serve.app import deploy, start, started
from foveate_serve.config import DeploymentConfig, ServeConfig

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

NOW = "2025-03-17T00:00:00Z"
NOW_MICROS = 1_742_169_600_000_000
TOLERANCE = 1e-4
ROOM = DeploymentConfig(max_ongoing_requests=256)

Body = dict[str, Any]


def bodies(bundle: Bundle, state: Path) -> list[Body]:
    """Every viewer that is known, and sessions up to 500 askers."""
    rng, ids = np.random.default_rng(0), bundle.model.catalog.items.ids
    with SqliteState(state) as known:
        asked: list[Body] = [{"user_id": user} for user in known.users(300)]
    while len(asked) < 500:
        watched = rng.choice(len(ids), rng.integers(1, 30), replace=False)
        asked.append({"surface": "session", "history": [{"item_id": ids[code]} for code in watched]})
    return [{**one, "k": 10, "now": NOW, "seed": 1} for one in asked]


def answers_of(topology: Any, bundle: Bundle, state: Path, asked: Sequence[Body]) -> list[Body]:
    config = ServeConfig(port=0, topology=topology, deadline_ms=60_000, start_timeout_s=300, ingress=ROOM)
    with (
        start(bundle.path, state, config) as url,
        httpx.Client(base_url=url, timeout=90) as http,
        ThreadPoolExecutor(16) as pool,
    ):
        answers = list(pool.map(lambda body: http.post("/v1/recommend", json=body), asked))
    assert [one.status_code for one in answers] == [200] * len(asked)
    return [one.json() for one in answers]


def test_split_and_fused_agree_for_500_askers(small_bundle: Bundle, tmp_path: Path) -> None:
    state = Path(shutil.copyfile(default_state(small_bundle.path), tmp_path / "state.sqlite"))
    asked = bodies(small_bundle, state)
    both = [answers_of(topology, small_bundle, state, asked) for topology in ("split", "fused")]
    assert len(asked) == 500
    for split, fused in zip(*both, strict=True):
        assert split["degraded"] == fused["degraded"] == []
        assert [item["item_id"] for item in split["items"]] == [item["item_id"] for item in fused["items"]]
        scores = [[item["score"] for item in one["items"]] for one in (split, fused)]
        np.testing.assert_allclose(*scores, atol=TOLERANCE)


def test_no_answer_in_2000_mixes_bundles_while_they_are_swapped(
    small_world: Dataset, small_bundle: Bundle, tmp_path: Path
) -> None:
    state = Path(shutil.copyfile(default_state(small_bundle.path), tmp_path / "state.sqlite"))
    # Sources, ranker and features of its own: what is made by both bundles is like neither's.
    model = fit_model(small_world, replace(small_bundle.model.recipe, seed=7), upto="all")
    other = Bundle.load(Bundle.save(model, tmp_path / "other", data_hash="another").path)
    asked = bodies(small_bundle, state)
    expected = {one.bundle_id: [offline(one, state, body) for body in asked] for one in (small_bundle, other)}
    config = ServeConfig(port=0, deadline_ms=60_000, start_timeout_s=300, ingress=ROOM)
    with started(small_bundle.path, state, config) as running, httpx.Client(base_url=running.url(), timeout=90) as http:
        over = threading.Event()

        def swap() -> None:
            turn = 0
            while not over.wait(0.5):
                turn += 1
                deploy(running.dashboard, (small_bundle, other)[turn % 2].path, state, config, {})

        swapper = threading.Thread(target=swap)
        swapper.start()
        try:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda body: http.post("/v1/recommend", json=body), asked * 4))
        finally:
            over.set()
            swapper.join()
    assert [one.status_code for one in answers] == [200] * 2000
    seen = [one.json() for one in answers]
    assert {one["bundle_id"] for one in seen} == set(expected)
    for number, one in enumerate(seen):
        assert one["degraded"] == []
        ids, scores = expected[one["bundle_id"]][number % len(asked)]
        assert [item["item_id"] for item in one["items"]] == ids
        np.testing.assert_allclose([item["score"] for item in one["items"]], scores, atol=TOLERANCE)


def offline(bundle: Bundle, state: Path, body: Body) -> tuple[list[str], list[float]]:
    history = body.get("history")
    request = RecommendRequest(
        body.get("user_id", ""),
        k=body["k"],
        surface=body.get("surface", "home"),
        now=NOW_MICROS,
        seed=body["seed"],
        history=None if history is None else tuple(PastEvent(event["item_id"]) for event in history),
    )
    context = make_context(request, bundle.bundle_id, clock=lambda: NOW_MICROS)
    with SqliteState(state) as known:
        slate = asyncio.run(recommend(request, context, LocalStages(bundle.model, known)))
    return [item.item_id for item in slate.items], [item.score for item in slate.items]
