"""New items: how often they are found by what is known of them, beside simpler ways, and what that costs the others.

A tenth of a dataset's watched items is left out of training and put over the catalogue afterwards. Four viewers of
five are learned from. Each of the others asks once for every left-out item that they have met, with all the rest of
what they did as the history, and the whole catalogue is ranked. The same viewers' last known items are asked for with
and without the new items over the catalogue.

Beside the source stand, for the new items: matching by categories (the share of the history's categories that an item
has), the mean vector of its categories, and the mean vector of the known items that are most like it by their facts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.core.config import from_dict
from foveate.core.messages import NO_TIME, Query
from foveate.core.metrics import ndcg_at
from foveate.data.catalog import Catalog
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.fitting import FitContext
from foveate.data.overlay import WITHDRAWN, CatalogOverlay
from foveate.data.queries import query_of
from foveate.data.schema import ITEM_ID
from foveate.data.vocabulary import Vocabulary
from foveate.encoder.content_map import hashed_facts, unit_facts
from foveate.recommend.recipe import Recipe
from foveate.retrieval.attention import Attention, AttentionSource
from foveate.retrieval.extended import extended

Scores = Callable[[list[Query]], NDArray[np.float32]]

SHARE, LEARNED, NEIGHBOURS = 0.1, 0.8, 20
AT = 200
NOTHING = np.empty(0, dtype=np.int32)


class World:
    """A dataset cut by a seed: warm and new items, viewers to learn from and to ask."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        rng, frame = np.random.default_rng(seed), dataset.catalog().frame
        log, recipe = dataset.log(), Recipe()
        met = frame[ITEM_ID].is_in(log.frame[ITEM_ID].unique().implode())
        watched = frame.filter(met)[ITEM_ID]
        new = watched.gather(np.sort(rng.permutation(len(watched))[: round(SHARE * frame.height)]))
        is_new = frame[ITEM_ID].is_in(new.implode())
        self.warm = Catalog(frame.filter(~is_new))
        overlay = CatalogOverlay().updated(frame.filter(is_new).with_columns(pl.lit(False).alias(WITHDRAWN)), 1)
        self.catalog = overlay.over(self.warm)
        users = dataset.users()
        order = rng.permutation(len(users))
        self.learned, self.asked = np.split(order, [round(LEARNED * len(order))])
        positive = dataset.manifest.positive_kinds
        self.events = log.encode(users, self.catalog.items, recipe.signals, positive)
        keep = np.isin(self.events.user, self.learned) & (self.events.item < len(self.warm))
        warm = Vocabulary(self.warm.items.ids)
        self.training = log.encode(users, warm, recipe.signals, positive)
        self.training = self.training.take(np.isin(self.training.user, self.learned))
        assert int(keep.sum()) == len(self.training)
        self.seed = seed

    def context(self) -> FitContext:
        """Return what is learned from."""
        return FitContext(self.training.histories(self.warm.duration), self.warm, NO_TIME, self.seed)

    def questions(self) -> tuple[list[Query], NDArray[np.int32]]:
        """Return each asked viewer's history without one new item, and that item."""
        rows = np.flatnonzero(np.isin(self.events.user, self.asked) & (self.events.item >= len(self.warm)))
        queries, targets = [], []
        for row in rows.tolist():
            user, item = int(self.events.user[row]), int(self.events.item[row])
            own = np.flatnonzero((self.events.user == user) & (self.events.item != item))
            queries.append(query_of(self.events, own, str(user), NOTHING, NO_TIME))
            targets.append(item)
        return queries, np.array(targets, dtype=np.int32)

    def warm_questions(self) -> tuple[list[Query], NDArray[np.int32]]:
        """Return each asked viewer's warm history without its last item, and that item."""
        queries, targets = [], []
        for user in np.sort(self.asked).tolist():
            own = np.flatnonzero((self.events.user == user) & (self.events.item < len(self.warm)))
            if len(own) > 1:
                queries.append(query_of(self.events, own[:-1], str(user), NOTHING, NO_TIME))
                targets.append(int(self.events.item[own[-1]]))
        return queries, np.array(targets, dtype=np.int32)


def ranks(scores: Scores, queries: list[Query], targets: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return each target's mid-rank among all items that are not excluded, counted from 1."""
    found = []
    for start in range(0, len(queries), 128):
        part = queries[start : start + 128]
        for query, row_J, target in zip(part, scores(part), targets[start : start + 128].tolist(), strict=True):
            open_J = np.ones(len(row_J), dtype=bool)
            open_J[query.exclude[query.exclude < len(row_J)]] = False
            own = row_J[target]
            found.append(1 + (row_J[open_J] > own).sum() + ((row_J[open_J] == own).sum() - 1) / 2)
    return np.array(found)


def rivals(world: World, source: AttentionSource) -> Mapping[str, Scores]:
    """Return the simpler ways to score all items."""
    catalog, known = world.catalog, len(world.warm)
    shares = catalog.categories.astype(np.float32)
    sizes = np.maximum(np.asarray(shares.sum(axis=1)).ravel(), 1.0)
    unit = shares.multiply(1.0 / sizes[:, None]).tocsr()

    def by_category(queries: list[Query]) -> NDArray[np.float32]:
        taste = np.stack([np.asarray(unit[q.items[q.positives]].sum(axis=0)).ravel() for q in queries])
        return np.asarray((unit @ taste.T).T, dtype=np.float32)

    vectors = source.encoder.item_vectors
    counts = np.bincount(world.training.item[world.training.positive], minlength=known)
    seen = np.flatnonzero(counts > 0)
    means = unit[seen].T @ vectors[seen] / np.maximum(np.asarray(unit[seen].sum(axis=0)).ravel(), 1e-9)[:, None]
    rarity = np.log((1 + known) / (1 + hashed_facts(world.warm.frame).getnnz(axis=0))).astype(np.float32)
    facts = unit_facts(hashed_facts(catalog.frame), rarity)
    near = (facts[known:] @ facts[seen].T).toarray()
    top = np.argsort(-near, axis=1)[:, :NEIGHBOURS]
    closeness = np.take_along_axis(near, top, axis=1)
    by_near = (closeness[:, :, None] * vectors[seen][top]).sum(axis=1) / np.maximum(closeness.sum(axis=1), 1e-9)[
        :, None
    ]
    config = source.config

    def with_vectors(own: NDArray[np.float32]) -> Callable[[list[Query]], NDArray[np.float32]]:
        lengths = np.linalg.norm(own, axis=1, keepdims=True)
        usual = np.median(np.linalg.norm(vectors[seen], axis=1))
        scaled = (own / np.maximum(lengths, 1e-9) * usual).astype(np.float32)
        return AttentionSource(config, source.encoder.extended(scaled), catalog).scores

    return {
        "matching by categories": by_category,
        "mean of the categories": with_vectors(np.asarray(unit[known:] @ means)),
        "content-kNN": with_vectors(by_near),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=0)
    options = parser.parse_args()
    dataset = open_dataset(options.dataset)
    hits: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        world = World(dataset, seed)
        config = from_dict(Attention, {"train": {"epochs": options.epochs}} if options.epochs else {})
        source = config.fit(world.context())
        over = extended(source, world.catalog)
        assert source.content_map is not None
        agreement, trust = source.content_map.agreement, source.content_map.trust
        counts = f"{len(world.warm):,} warm, {world.catalog.appended:,} new"
        print(f"seed {seed}: {counts}; agreement {agreement:.3f}, trust {trust:.2f}", flush=True)
        queries, targets = world.questions()
        rows: dict[str, Scores] = {"content map": over.scores, **rivals(world, source)}
        for name, scores in rows.items():
            hit = float((ranks(scores, queries, targets) <= AT).mean())
            hits.setdefault(name, []).append(hit)
            print(f"  {name:28s} recall@{AT} {hit:.4f} ({len(targets):,} targets)", flush=True)
        asked, last = world.warm_questions()
        for name, scores in {"warm alone": source.scores, "warm with new": over.scores}.items():
            value = float(ndcg_at(ranks(scores, asked, last), 10).mean())
            hits.setdefault(name, []).append(value)
            print(f"  {name:28s} ndcg@10 {value:.4f}")
    for name, values in hits.items():
        print(f"{name:28s} {np.mean(values):.4f} +- {np.std(values):.4f}")


if __name__ == "__main__":
    main()
