"""A believable simulated world, written as a dataset folder with its ground truth beside it.

::

    DIR/truth/config.json             the settings
        tastes/part-*.parquet         user_id, day, taste [T]: what each viewer likes, day by day
        items.parquet                 item_id, topics [T], quality, clickbait, next_item_id
        shown.parquet                 impression_id, interest: the chance that the viewer, opening it, is pleased
        topics.parquet                topic, category, leads_to: the names of the T columns
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.core.config import to_dict
from foveate.core.errors import ConfigError
from foveate.data.dataset import Dataset, open_dataset, write_dataset
from foveate.data.world.audience import Audience, make_audience, plan_visits, taste_paths
from foveate.data.world.catalogue import Catalogue, make_catalogue
from foveate.data.world.config import SimulateConfig
from foveate.data.world.sessions import Crowd, World, crowds
from foveate.data.world.showing import LoggingPolicy
from foveate.data.world.tables import events, impressions, number_rows
from foveate.data.world.words import CATEGORY_NAMES, TOPIC_NAMES, TOPICS_PER_CATEGORY
from foveate.storage.files import staged_folder

__all__ = ["SimulateConfig", "simulate_dataset"]

TRUTH = "truth"
POSITIVE_KINDS = ("long_view",)


def simulate_dataset(config: SimulateConfig, out: Path, progress: Callable[[str, int], None] | None = None) -> Dataset:
    """Simulate a world and write it.

    Parameters
    ----------
    config
        Its size and habits; the same settings write the same bytes.
    out
        Folder to make; nothing is left of it on a failure.
    progress
        Called as ``progress(note, viewers)`` each time so many more viewers have lived through the days.

    Raises
    ------
    ConfigError
        The world is so small that nobody came.
    OutputExistsError
        ``out`` already holds something.
    """
    with staged_folder(out) as folder:
        _write(config, folder, progress or (lambda _note, _viewers: None))
    return open_dataset(out)


def _write(config: SimulateConfig, folder: Path, progress: Callable[[str, int], None]) -> None:
    seeds = np.random.SeedSequence(config.seed).spawn(5)
    rng_items, rng_viewers, rng_visits, rng_path, rng_events = (np.random.default_rng(seed) for seed in seeds)
    catalogue = make_catalogue(config, rng_items)
    audience = make_audience(config, catalogue, rng_viewers)
    visits = plan_visits(config, audience, rng_visits)
    path = rng_path.permutation(len(TOPIC_NAMES))
    world = World(config, catalogue, audience, visits, path)
    policy = LoggingPolicy(config, catalogue)
    truth = folder / TRUTH
    (truth / "tastes").mkdir(parents=True)
    rounds: list[pl.DataFrame] = []
    for part, rows in enumerate(crowds(config)):
        # A crowd has its own random numbers: it could live alone, or beside another.
        rng = np.random.default_rng([config.seed, 1, part])
        tastes = taste_paths(config, audience, rows, rng)
        _taste_table(audience, rows, tastes).write_parquet(truth / "tastes" / f"part-{part:04d}.parquet")
        rounds += Crowd(world, rows, tastes).live(policy, rng)
        progress("living", rows.stop - rows.start)
    if not rounds:
        raise ConfigError("nobody came: raise viewers, days or sessions_per_week")
    shown = number_rows(pl.concat(rounds))
    _write_truth(truth, config, catalogue, path, shown)
    write_dataset(
        folder,
        impressions=impressions(shown, catalogue, audience),
        events=events(config, shown, catalogue, audience, rng=rng_events),
        items=catalogue.frame,
        viewers=audience.frame,
        reader="simulate",
        positive_kinds=POSITIVE_KINDS,
        simulated=True,
        settings=to_dict(config),
    )


def _write_truth(
    truth: Path, config: SimulateConfig, catalogue: Catalogue, path: NDArray[np.int64], shown: pl.DataFrame
) -> None:
    (truth / "config.json").write_text(json.dumps(to_dict(config), indent=2) + "\n", encoding="utf-8")
    following = [catalogue.ids[code] if code >= 0 else None for code in catalogue.following.tolist()]
    pl.DataFrame(
        {
            "item_id": catalogue.ids,
            "topics": _lists(catalogue.topics),
            "quality": catalogue.quality,
            "clickbait": catalogue.clickbait,
            "next_item_id": pl.Series(following, dtype=pl.String),
        }
    ).write_parquet(truth / "items.parquet")
    shown.select("impression_id", "interest").write_parquet(truth / "shown.parquet")
    pl.DataFrame(
        {
            "topic": list(TOPIC_NAMES),
            "category": [CATEGORY_NAMES[code // TOPICS_PER_CATEGORY] for code in range(len(TOPIC_NAMES))],
            "leads_to": [TOPIC_NAMES[code] for code in path.tolist()],
        }
    ).write_parquet(truth / "topics.parquet")


def _taste_table(audience: Audience, rows: slice, tastes: NDArray[np.float32]) -> pl.DataFrame:
    n, days, n_topics = tastes.shape
    return pl.DataFrame(
        {
            "user_id": pl.Series(audience.ids[rows]).gather(np.repeat(np.arange(n, dtype=np.uint32), days)),
            "day": np.tile(np.arange(days, dtype=np.int32), n),
            "taste": _lists(tastes.reshape(n * days, n_topics)),
        }
    )


def _lists(rows: NDArray[np.float32]) -> pl.Series:
    return pl.Series(np.ascontiguousarray(rows.ravel())).reshape(rows.shape).cast(pl.List(pl.Float32))
