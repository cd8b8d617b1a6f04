"""Fixtures that every room of the tests shares."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from foveate.bundle import Bundle, default_state
from foveate.config import from_dict
from foveate.data.catalog import Catalog
from foveate.data.dataset import Dataset
from foveate.data.events import Histories
from foveate.data.fitting import FitContext
from foveate.data.schema import ITEM_ID, ITEMS
from foveate.data.simulate.config import SimulateConfig
from foveate.data.simulate.world import simulate_dataset
from foveate.fit import fit_model
from foveate.messages import NO_TIME, Query
from foveate.recipe import Recipe
from foveate.state.sqlite import SqliteState

REPOSITORY = Path(__file__).resolve().parents[1]


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


@dataclass(frozen=True)
class Checkerboard:
    """Two colours of items in a circle each, and viewers who each walked one circle but for its last item.

    Viewer ``u`` likes colour ``u % 2`` and watched that circle in order from a place of their own. The one right
    answer is the item that closes the circle, ``answers[u]``.
    """

    histories: Histories
    catalog: Catalog
    answers: NDArray[np.int32]

    def context(self, seed: int = 0) -> FitContext:
        """What a source may learn from, with the answers held out."""
        return FitContext(self.histories, self.catalog, NO_TIME, seed=seed, validation=self.answers)

    def query(self, user: int) -> Query:
        """The viewer now, the seen excluded."""
        return self.query_of(self.histories.items[self.histories.rows(user)])

    def query_of(self, items: NDArray[np.int32]) -> Query:
        """A viewer with this history."""
        n = len(items)
        return Query(
            user_id="someone",
            items=items,
            times=np.full(n, NO_TIME),
            kinds=np.zeros(n, dtype=np.int8),
            values=np.ones(n, dtype=np.float32),
            positives=np.ones(n, dtype=bool),
            exclude=np.unique(items),
            now=NO_TIME,
        )


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
    frame = pl.DataFrame({ITEM_ID: [f"v{code}" for code in range(2 * circle)]})
    blanks = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in ITEMS.items() if name != ITEM_ID]
    return Checkerboard(histories, Catalog(frame.with_columns(blanks)), walks[:, -1].copy())


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A simulated world of 300 viewers and 300 items over two weeks."""
    settings = SimulateConfig(viewers=300, items=300, days=14, seed=3)
    return simulate_dataset(settings, tmp_path_factory.mktemp("world") / "dataset")


@pytest.fixture(scope="session")
def small_bundle(small_world: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle trained on the small world, every stage included; the viewers' histories lie beside it."""
    settings = {
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
        fit_model(small_world, from_dict(Recipe, settings), upto="all"),
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
