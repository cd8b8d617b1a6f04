"""Whether a ranker that learned from the served log alone orders better than retrieval does, in a simulated world.

A model is trained on a made-up world and serves its viewers for some days more. Viewers respond as the simulator has
them, by tastes that the model never sees. What was served is exported and appended, and a ranker learns from it alone:
from features as they were served, and from what followed. The last day stays unseen. On it each viewer's candidates
are ordered by that ranker and by retrieval, and the measure is the mean true chance that the first ten please.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

import foveate
from foveate.core.config import from_dict
from foveate.core.messages import RecommendRequest
from foveate.data.dataset import Dataset
from foveate.data.queries import queries_of
from foveate.data.world.audience import Audience, make_audience
from foveate.data.world.behaviour import RECENT, Minds, Response, attraction, interest, respond
from foveate.data.world.catalogue import NONE, Catalogue, make_catalogue
from foveate.data.world.config import DAY, HOUR, SECOND, SimulateConfig
from foveate.data.world.simulate import simulate_dataset
from foveate.evaluation.paired import paired
from foveate.recommend.fallback import by_retrieval
from foveate.recommend.model import Model
from foveate.recommend.pipeline import make_context, recommend_many
from foveate.recommend.recipe import Recipe
from foveate.state.base import ServedRequest, ViewerEvent, impression_id, utc_micros
from foveate.state.connect import open_impressions, open_viewers
from foveate.training import Fitted, fit, fit_model

PLACES = 10
_BATCH = 200
_RECIPE = {
    "sources": ["covisitation", "item_knn", "popularity", "recent_popularity"],
    "candidates": 60,
    "labels": {"weights": {"long_view": 1.0, "click": 0.2}},
    "label_draw": {"queries": 20_000, "negatives": 0},
}


class World:
    """A simulated world that goes on after its log has ended.

    Parameters
    ----------
    config
        Of the world.
    dataset
        What it wrote; the tastes of its last day stay as they are.
    """

    def __init__(self, config: SimulateConfig, dataset: Dataset) -> None:
        seeds = np.random.SeedSequence(config.seed).spawn(5)
        self.config = config
        self.catalogue: Catalogue = make_catalogue(config, np.random.default_rng(seeds[0]))
        self.audience: Audience = make_audience(config, self.catalogue, np.random.default_rng(seeds[1]))
        assert dataset.path is not None
        tastes = pl.read_parquet(dataset.path / "truth" / "tastes" / "*.parquet").sort("day")
        last = dict(tastes.group_by("user_id", maintain_order=True).agg(pl.col("taste").last()).iter_rows())
        self.taste = np.array([last[user] for user in self.audience.ids], dtype=np.float32)
        self.code = {item: code for code, item in enumerate(self.catalogue.ids)}

    def odds(self, viewers: NDArray[np.int64], items: NDArray[np.int64], now: int) -> NDArray[np.float32]:
        """``[B, P]`` log odds that each item pleases, without a mood and with no next episode awaited."""
        count, audience = len(viewers), self.audience
        minds = Minds(
            mood=np.zeros_like(self.taste[viewers]),
            awaited=np.full((count, RECENT), NONE),
            favourites=audience.favourites[viewers],
            length=audience.length[viewers],
            language=audience.language[viewers],
        )
        parts = attraction(self.catalogue, minds, self.taste[viewers], items)
        times = np.full(count, now)
        return interest(self.config, self.catalogue, minds, parts=parts, items=items, now=times)

    def respond(
        self, viewers: NDArray[np.int64], items: NDArray[np.int64], now: int, rng: np.random.Generator
    ) -> Response:
        """Let viewers look through slates."""
        odds = self.odds(viewers, items, now)
        return respond(self.config, self.catalogue, odds, items=items, now=np.full(len(viewers), now), rng=rng)


def serve(world: World, model: Model, state: str, start: int, days: int) -> None:
    """Serve every viewer twice a day, and keep what came of it."""
    rng = np.random.default_rng(world.config.seed)
    with open_viewers(state) as viewers, open_impressions(state) as impressions:
        for visit in range(2 * days):
            now = start + visit * DAY // 2 + HOUR
            for first in range(0, len(world.audience), _BATCH):
                rows = np.arange(first, min(first + _BATCH, len(world.audience)))
                requests = [RecommendRequest(world.audience.ids[row], k=PLACES, now=now, seed=visit) for row in rows]
                contexts = [make_context(one, "served", clock=utc_micros) for one in requests]
                slates = recommend_many(model, viewers, requests, contexts)
                impressions.write([ServedRequest(*one) for one in zip(requests, contexts, slates, strict=True)])
                items = np.full((len(rows), PLACES), NONE)
                for row, slate in enumerate(slates):
                    items[row, : len(slate.items)] = [world.code[item.item_id] for item in slate.items]
                found = world.respond(rows, items, now, rng)
                viewers.append(
                    [
                        ViewerEvent(slate.user_id, item.item_id, kind, value, at, None, name)
                        for row, slate in enumerate(slates)
                        for place, item in enumerate(slate.items)
                        if found.clicked[row, place]
                        for name in [impression_id(slate.request_id, item.position)]
                        for kind, value, at in _events(found, row, place)
                    ]
                )


def _events(found: Response, row: int, place: int) -> list[tuple[str, float, int]]:
    clicked, ended = int(found.clicked_at[row, place]), int(found.finished_at[row, place])
    happened = [("click", 1.0, clicked), ("watch", float(found.watched[row, place]), ended)]
    return [*happened, ("long_view", 1.0, ended + SECOND)] if found.long_view[row, place] else happened


def worth(world: World, fitted: Fitted, users: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``[B]`` twice: the mean true chance of the first ten by the ranker, and by retrieval."""
    model, now = fitted.model, fitted.stage.now
    ranked_B, retrieved_B = [], []
    row_of = {user: row for row, user in enumerate(world.audience.ids)}
    codes = np.arange(len(users), dtype=np.int32)
    for first in range(0, len(users), _BATCH):
        batch = codes[first : first + _BATCH]
        queries = queries_of(fitted.stage.history, batch, model.catalog, now)
        candidates = model.candidates(queries)
        for user, query, own, ranked in zip(
            batch.tolist(), queries, candidates, model.rank(queries, candidates), strict=True
        ):
            items = np.array([world.code[item] for item in model.catalog.items.decode(own.items)])
            odds = world.odds(np.array([row_of[users[user]]]), items[None, :], now)[0]
            chance_N = 1.0 / (1.0 + np.exp(-odds.astype(np.float64)))
            ranked_B.append(chance_N[np.argsort(-ranked.scores, kind="stable")[:PLACES]].mean())
            retrieved_B.append(chance_N[np.argsort(-by_retrieval(query, own).scores, kind="stable")[:PLACES]].mean())
    return np.array(ranked_B), np.array(retrieved_B)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=1500)
    parser.add_argument("--items", type=int, default=1500)
    parser.add_argument("--days", type=int, default=6, help="days that are served; the last one stays unseen")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        folder = Path(scratch)
        config = SimulateConfig(viewers=options.viewers, items=options.items, days=21, seed=options.seed)
        data = simulate_dataset(config, folder / "data")
        world, state = World(config, data), str(folder / "state.sqlite")
        with open_viewers(state) as viewers:
            viewers.import_events(data.events)
        serve(world, fit_model(data, from_dict(Recipe, _RECIPE), upto="all"), state, config.end, options.days)
        exported = foveate.export_log(state, folder / "log")
        grown = foveate.append(folder / "data", folder / "log", reader="served")
        print(f"[simulated] {exported}")
        fitted = fit(grown, from_dict(Recipe, {**_RECIPE, "ranker_rows": "served"}), upto="test")
        ranked_B, retrieved_B = worth(world, fitted, grown.viewers["user_id"].to_list())
    rows, queries = len(fitted.training.labels), len(fitted.training.groups)
    print(f"[simulated] the ranker learned from {rows:,} impressions of {queries:,} requests")
    found = paired(ranked_B[None, :], retrieved_B[None, :], seed=0).difference
    sentence = f"{found.absolute.mean:+.4f} [{found.absolute.low:+.4f}, {found.absolute.high:+.4f}]"
    print(f"[simulated] chance to please, first ten: {ranked_B.mean():.4f} by the served log's ranker,", end=" ")
    print(f"{retrieved_B.mean():.4f} by retrieval: {sentence} of {len(ranked_B):,} viewers")
    print(f"ratio served_ranker_low_end {found.absolute.low:.4f} goal > 0")


if __name__ == "__main__":
    main()
