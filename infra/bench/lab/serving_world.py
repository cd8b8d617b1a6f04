"""A bundle and its viewers for the serving benchmarks, made once and kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foveate.bundle import Bundle, default_state
from foveate.core.config import from_dict
from foveate.data.world.config import SimulateConfig
from foveate.data.world.simulate import simulate_dataset
from foveate.recommend.recipe import Recipe
from foveate.state.base import ViewerEvent
from foveate.state.sqlite.store import SqliteState
from foveate.training import fit_model

VIDEOS, HISTORY, CANDIDATES, SLATE = 10_000, 50, 200, 20
VIEWERS = 1_000

_RECIPE = {
    "sources": [{"name": "attention", "train": {"epochs": 1}}, "covisitation", "popularity", "recent_popularity"],
    # Sources overlap: so many of each give about as many candidates as are asked for.
    "candidates": CANDIDATES // 3,
    "label_windows": 1,
    "slate_size": SLATE,
}


@dataclass(frozen=True)
class World:
    """What is served, and who asks."""

    bundle: Path
    state: Path
    users: tuple[str, ...]


def serving_world(folder: Path, config: SimulateConfig | None = None) -> World:
    """Return the world in ``folder``; it is made where it is absent, which takes some minutes.

    ``config`` has it made of other viewers and videos than usual.
    """
    path = folder / "bundle"
    if not (path.exists() and default_state(path).exists()):
        _make(folder, path, config or SimulateConfig(viewers=1500, items=VIDEOS, days=14, seed=0))
    return World(path, default_state(path), tuple(f"viewer {number}" for number in range(VIEWERS)))


def _make(folder: Path, path: Path, config: SimulateConfig) -> None:
    print(f"making a world of {config.items:,} videos (once)", flush=True)
    dataset = simulate_dataset(config, folder / "data")
    model = fit_model(dataset, from_dict(Recipe, _RECIPE), upto="all")
    bundle = Bundle.save(model, path, data_hash=dataset.manifest.content_hash, data=dataset.title, simulated=True)
    rng, ids = np.random.default_rng(0), bundle.model.catalog.items.ids
    kind = bundle.model.positive_kinds[0]
    end = config.end
    with SqliteState(default_state(path)) as state:
        for number in range(VIEWERS):
            seen = rng.choice(len(ids), HISTORY, replace=False)
            times = np.sort(rng.integers(end - 10**12, end, HISTORY))
            state.append(
                [
                    ViewerEvent(f"viewer {number}", ids[item], kind, 1.0, int(time))
                    for item, time in zip(seen, times, strict=True)
                ]
            )
