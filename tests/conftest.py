"""Fixtures that every room of the tests shares."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, settings

from checkerboard import Checkerboard, two_colours
from clusters.redis_server import running
from foveate.bundle import Bundle, default_state
from foveate.core.config import from_dict, to_dict
from foveate.core.messages import NO_TIME
from foveate.data.dataset import Dataset
from foveate.data.events import Histories
from foveate.data.vocabulary import Vocabulary
from foveate.data.world.config import SimulateConfig
from foveate.data.world.simulate import simulate_dataset
from foveate.recommend.recipe import Recipe
from foveate.slate.inputs import SlateInput
from foveate.state.sqlite.store import SqliteState
from foveate.training import fit_model
from lab.stores import Redis

if TYPE_CHECKING:
    import httpx

    from foveate.state.connect import StatePlace
    from foveate_serve.config import ServeConfig
    from foveate_tune.results.leaderboard import SweepResult

REPOSITORY = Path(__file__).resolve().parents[1]

# Tensors here are small: a second thread gains nothing, and on a busy machine the two wait for each other.
torch.set_num_threads(1)

# How long an example takes, or the drawing of one, says how busy the machine is and nothing of what is tested.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
_PHASES = set(Phase) - {Phase.shrink, Phase.explain}
settings.register_profile("no-shrink", settings.get_profile("unhurried"), phases=_PHASES)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; tests that need it are skipped where it is absent."""
    root = Path(os.environ.get("FOVEATE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real data at {root}: set FOVEATE_DATA to a folder that holds ml-100k and kuairand-pure")
    return root


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Redis]:
    """A Redis server that runs; a test is skipped where none can."""
    with running(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def checkerboard() -> Checkerboard:
    """6 items a colour, 48 viewers who saw 5 of them."""
    circle, viewers = 6, 48
    rows = [[(u // 2 + step) % circle * 2 + u % 2 for step in range(circle)] for u in range(viewers)]
    walks = np.array(rows, dtype=np.int32)
    seen = walks[:, :-1].ravel()
    histories = Histories(
        offsets=np.arange(0, len(seen) + 1, circle - 1, dtype=np.int64),
        items=seen,
        times=np.full(len(seen), NO_TIME),
        weights=np.ones(len(seen), dtype=np.float32),
        n_items=2 * circle,
    )
    return Checkerboard(histories, two_colours(2 * circle), walks[:, -1].copy())


_UNKNOWN = ("age_days", "channel_standing", "safety", "duration")
"""Facts of candidates that may be NaN."""


class Pools:
    """Candidates of a slate, from few facts or from none."""

    @staticmethod
    def of(relevance: Any, **facts: Any) -> SlateInput:
        """Of these scores and facts; what is not given is unknown, and codes count up."""
        n = len(relevance)
        names = facts.pop("category_names", ())
        shapes = {"vectors": (n, 1), "categories": (n, len(names)), "tags": (n, 0), "taste": (len(names),)}
        blank: dict[str, Any] = {
            **{name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()},
            **{name: np.full(n, -1, dtype=np.int32) for name in ("channel", "category")},
            **{name: np.full(n, np.nan, dtype=np.float32) for name in _UNKNOWN},
            "codes": np.arange(n, dtype=np.int32),
            "relevance": np.empty(n, dtype=np.float32),
        }
        blank["tags"] = blank["tags"].astype(bool)
        given = {**facts, "relevance": relevance}
        arrays = {name: np.array(given.get(name, values), dtype=values.dtype) for name, values in blank.items()}
        channels = Vocabulary([f"channel {code}" for code in range(int(arrays["channel"].max(initial=-1)) + 1)])
        return SlateInput(**arrays, category_names=tuple(names), channels=channels)

    @classmethod
    def random(
        cls, rng: np.random.Generator, n: int, channels: int, categories: int, *, tags: int = 0, spoilt: float = 0.0
    ) -> SlateInput:
        """With scores that often tie, a share ``spoilt`` of them not finite, and some facts unknown."""
        relevance = rng.normal(size=n).round(1)
        relevance[rng.random(n) < spoilt] = rng.choice([np.nan, np.inf, -np.inf])
        vectors = rng.normal(size=(n, 8))
        category = rng.integers(-1, categories, n)
        return cls.of(
            relevance,
            vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
            channel=rng.integers(-1, channels, n),
            category=category,
            codes=rng.permutation(10 * n)[:n],
            categories=category[:, None] == np.arange(categories),
            category_names=tuple(f"category {code}" for code in range(categories)),
            taste=rng.dirichlet(np.ones(categories)),
            tags=rng.random((n, tags)) < 0.3,
            age_days=np.where(rng.random(n) < 0.1, np.nan, rng.uniform(0, 20, n)),
            channel_standing=rng.random(n),
            safety=np.where(rng.random(n) < 0.1, np.nan, rng.random(n)),
            duration=np.where(rng.random(n) < 0.1, np.nan, rng.uniform(10, 3600, n)),
        )


@pytest.fixture(scope="session")
def pools() -> type[Pools]:
    """Makes candidates of a slate."""
    return Pools


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A simulated world of 300 viewers and 300 items over two weeks."""
    config = SimulateConfig(viewers=300, items=300, days=14, seed=3)
    return simulate_dataset(config, tmp_path_factory.mktemp("world") / "dataset")


@pytest.fixture(scope="session")
def small_bundle(small_world: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle trained on the small world, every stage included; the viewers' histories lie beside it."""
    recipe = {
        "sources": [
            {"name": "attention", "train": {"epochs": 1}, "target_attention": True},
            "covisitation",
            "popularity",
        ],
        "candidates": 60,
        "label_windows": 1,
        "ranker": {"name": "lambdarank", "trees": 30, "members": 2, "min_rows": 20, "threads": 1},
    }
    manifest = small_world.manifest
    bundle = Bundle.save(
        fit_model(small_world, from_dict(Recipe, recipe), upto="all"),
        tmp_path_factory.mktemp("bundle") / "small",
        data_hash=manifest.content_hash,
        data=small_world.title,
        simulated=manifest.simulated,
        metrics={"selection": {"two-stage": {"ndcg@10": 0.1}}},
        seeds=(0,),
    )
    with SqliteState(default_state(bundle.path)) as state:
        state.import_events(small_world.events)
    return bundle


@pytest.fixture(scope="session")
def small_api(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The HTTP interface over the small bundle, all stages in this process: no cluster."""
    from foveate_serve.config import ServeConfig

    state = tmp_path_factory.mktemp("api") / "state.sqlite"
    shutil.copyfile(default_state(small_bundle.path), state)
    # The machine may be busy: a test must not fail for being slow.
    with answering(small_bundle, state, ServeConfig(topology="fused", deadline_ms=60_000)) as client:
        yield client


@pytest.fixture(scope="session")
def serving() -> Callable[[Bundle, StatePlace, ServeConfig], AbstractContextManager[httpx.Client]]:
    """Answers over a socket of this machine, with settings of the test's own."""
    return answering


@contextmanager
def answering(bundle: Bundle, state: StatePlace, config: ServeConfig) -> Iterator[httpx.Client]:
    """Answer over a socket of this machine while the block runs; yield a client."""
    import httpx
    import uvicorn

    from foveate_serve.http.api import build_api
    from foveate_serve.ingress import Ingress
    from foveate_serve.names import BUNDLE_KEY

    ingress = Ingress(to_dict(config), str(state))
    asyncio.run(ingress.reconfigure({BUNDLE_KEY: str(bundle.path)}))
    server = uvicorn.Server(uvicorn.Config(build_api(ingress, ingress.running), log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=120) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def small_sweep(small_world: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepResult, Path]:
    """A sweep of four trials of three epochs on the small world, tracked in files alone, and its folder."""
    # Ray and W&B take seconds to import, which most tests are spared.
    from foveate_tune.config import SweepConfig
    from foveate_tune.run_sweep import run_sweep

    out = tmp_path_factory.mktemp("tune") / "sweep"
    assert small_world.path
    sweep = {"trials": 4, "epochs": 3, "tracking": {"mode": "offline"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_API_KEY", raising=False)
        return run_sweep(from_dict(SweepConfig, sweep), small_world.path, out), out
