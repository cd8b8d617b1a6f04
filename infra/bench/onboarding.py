"""First slates of viewers who only say what they like, beside what everyone watches.

A bundle's own windows are used: its model learned until the test window began. Of every viewer who is asked, the
history is emptied, and they say that they like three items of it, drawn by a seed, or the categories (or tags, or
channels) that it has most of, three of them. Right are the items of the test window. Beside stand popularity and recent
popularity, as they stood at the cut, for the same viewers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.bundle import Bundle
from foveate.core.messages import Filters, Likes, Query, ViewerHistory
from foveate.core.metrics import bootstrap_mean, mid_ranks_among, multi_ndcg_at, paired_difference
from foveate.data.dataset import open_dataset
from foveate.data.fitting import FitContext
from foveate.evaluation.loaded import newest_stage
from foveate.evaluation.outcomes import asked_of
from foveate.evaluation.panel import Panel, panel_of
from foveate.recommend.likes import may_show, stand_ins, with_likes
from foveate.recommend.model import Model
from foveate.recommend.pipeline import rank, retrieve
from foveate.retrieval.base import CandidateSource
from foveate.retrieval.popularity import Popularity
from foveate.retrieval.recent_popularity import RecentPopularity

Scored = tuple[NDArray[np.int32], NDArray[np.floating]]
Scores = Callable[[Panel], list[Scored]]

SAID = 3
BATCH = 64


def emptied(model: Model, query: Query, likes: Likes | None) -> Query:
    """Return the query of a viewer of whom nothing is known but likes; what was met stays left out."""
    nothing = np.empty(0, dtype=np.int64)
    history = ViewerHistory(query.user_id, (), (), nothing.astype(np.float32), nothing)
    if likes is None:
        bare = model.query(history, Filters(), query.now)
    else:
        stands = stand_ins(model, likes)
        bare = model.query(with_likes(model, history, likes, stands, query.now), Filters(), query.now)
        bare = may_show(model, bare, stands, likes.items, Filters())
    return replace(bare, exclude=np.union1d(bare.exclude, query.exclude).astype(np.int32))


def said(model: Model, query: Query, what: str, rng: np.random.Generator) -> Likes | None:
    """Return what a viewer would say that they like; None where their history says nothing of it."""
    catalog, liked = model.catalog, np.unique(query.items[query.positives])
    if what == "items":
        drawn = rng.permutation(liked)[:SAID].tolist()
        return Likes(items=tuple(catalog.items.ids[code] for code in drawn)) if drawn else None
    if what == "channels":
        codes = catalog.channel[liked]
        counts, names = np.bincount(codes[codes >= 0], minlength=len(catalog.channels)), catalog.channels
    else:
        members = catalog.categories if what == "categories" else catalog.tags
        names = catalog.category_names if what == "categories" else catalog.tag_names
        counts = np.asarray(members[liked].sum(axis=0)).ravel()
    best = np.argsort(-counts, kind="stable")[:SAID]
    best = best[counts[best] > 0]
    return Likes(**{what: tuple(names.ids[code] for code in best.tolist())}) if len(best) else None


def ndcg(scores: Scores, panel: Panel) -> NDArray[np.float64]:
    """Return each viewer's NDCG@10 over all their targets, of scored items."""
    ranks = []
    for batch in panel.batches(BATCH):
        for viewer, (items, scores_N) in enumerate(scores(batch)):
            ranks.append(mid_ranks_among(scores_N, items, batch.targets[batch.of(viewer)]))
    return multi_ndcg_at(np.concatenate(ranks), panel.offsets, 10)


def chosen(panel: Panel, rows: Sequence[int]) -> Panel:
    """Return some of a panel's viewers."""
    counts = np.diff(panel.offsets)[list(rows)]
    places = np.concatenate([np.arange(panel.offsets[row], panel.offsets[row + 1]) for row in rows])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Panel([panel.queries[row] for row in rows], offsets, panel.targets[places], panel.reachable[places])


def everyones(source: CandidateSource) -> Scores:
    """Return what scores a batch by one source alone, over the whole catalogue."""

    def scores(batch: Panel) -> list[Scored]:
        scores_BI = source.scores(batch.queries)
        every = np.arange(scores_BI.shape[1], dtype=np.int32)
        items = [np.setdiff1d(every, query.exclude) for query in batch.queries]
        return [(own, row_I[own]) for own, row_I in zip(items, scores_BI, strict=True)]

    return scores


def two_stage(model: Model) -> Scores:
    """Return what scores a batch by retrieval and ranker."""

    def scores(batch: Panel) -> list[Scored]:
        _, contexts = asked_of(batch, 0)
        candidates = retrieve(model, batch.queries, contexts)
        ranked = rank(model, batch.queries, candidates, contexts)
        return [(one.candidates.items, one.scores) for one in ranked]

    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="trained with --upto test")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--most", type=int, default=3000, help="viewers that are asked")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    bundle, dataset = Bundle.load(options.bundle), open_dataset(options.dataset)
    model = bundle.model
    stage = newest_stage(bundle, dataset, model.recipe.protocol)
    whole = panel_of(stage, model.catalog, most=options.most, seed=options.seed)
    known = [row for row, query in enumerate(whole.queries) if query.positives.sum() >= SAID]
    panel = chosen(whole, known)
    history = stage.history.take(stage.history.item < len(model.catalog)).histories(model.catalog.duration)
    context = FitContext(history, model.catalog, stage.now)
    rows = {one.name: ndcg(everyones(one.fit(context)), panel) for one in (Popularity(), RecentPopularity())}
    print(f"{len(known):,} viewers with at least {SAID} positive events; {len(panel.targets):,} targets")
    for what in ("nothing", "items", "channels", "categories", "tags"):
        rng = np.random.default_rng(options.seed)
        likes = [None if what == "nothing" else said(model, query, what, rng) for query in panel.queries]
        if what != "nothing" and not any(likes):
            continue
        queries = [emptied(model, query, own) for query, own in zip(panel.queries, likes, strict=True)]
        rows[f"says {what}"] = ndcg(two_stage(model), replace(panel, queries=queries))
    rows["whole history"] = ndcg(two_stage(model), panel)
    for name, values in rows.items():
        print(f"{name:20s} ndcg@10 {bootstrap_mean(values, 0)}")
    for name, values in rows.items():
        if name.startswith("says "):
            for rival in (Popularity.name, RecentPopularity.name):
                print(f"{name} less {rival}: {paired_difference(values, rows[rival], 0)}")


if __name__ == "__main__":
    main()
