"""The base of second-stage trials: candidates that were retrieved once, and the measuring of a stage on top.

Shapes: ``B`` viewers, ``T`` targets of all of them, ``K`` places.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from foveate.core.messages import Candidates, Query
from foveate.data.catalog import Catalog
from foveate.data.queries import queries_of
from foveate.evaluation.outcomes import BLEND, SLATE, SLATE_SIZE, Outcomes, by_candidates, by_source, positions_of
from foveate.evaluation.panel import Panel
from foveate.evaluation.report import means
from foveate.features.candidate import z_scores
from foveate.ranking.base import LabelDraw
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.retrieval.base import FitContext, SourceConfig
from foveate.retrieval.merge import narrowed
from foveate.training.examples import BATCH, LabelWindow, drawn_viewers
from foveate_tune.levels.chosen_encoder import ENCODER

Found = Mapping[str, Candidates]
"""What all sources offered at most, by the name of a query's viewer."""

POPULARITY: Final = "popularity"
_WARM: Final = 3
"""Requests that are answered before any is timed."""


@dataclass(frozen=True)
class Recalled(LabelWindow):
    """A window whose viewers were asked for once: it holds no source, and narrows what was found.

    ``features`` are those of all sources.
    """

    found: Found

    def candidates(self, queries: Sequence[Query], counts: Sequence[int]) -> list[Candidates]:
        """Return what the sources of ``features`` would have offered."""
        named = dict(zip(self.features.sources, counts, strict=True))
        return [narrowed(self.found[query.user_id], named, self.features.source_features) for query in queries]

    def of(self, recipe: Recipe) -> Recalled:
        """Return the same window with the recipe's sources alone."""
        names = tuple(type(source).name for source in recipe.sources)
        return replace(
            self, features=replace(self.features, sources=names, source_features=recipe.source_feature_names)
        )


def recalled(found: Found, queries: Sequence[Query], recipe: Recipe) -> list[Candidates]:
    """Return what the recipe's sources would have offered each query."""
    named = {type(source).name: count for source, count in zip(recipe.sources, recipe.counts, strict=True)}
    return [narrowed(found[query.user_id], named, recipe.source_feature_names) for query in queries]


def asked_once(window: LabelWindow, catalog: Catalog, most: int, draw: LabelDraw, seed: int) -> Recalled:
    """Ask a label window's sources for ``most`` items each, for the viewers that a ranker will be drawn."""
    users = drawn_viewers(window.stage, draw, np.random.default_rng(seed))
    queries = queries_of(window.stage.history, users, catalog, window.stage.now)
    return Recalled(window.stage, (), window.features, found_for(window, queries, most))


def found_for(window: LabelWindow, queries: Sequence[Query], most: int) -> dict[str, Candidates]:
    """Ask a window's sources for ``most`` items each."""
    found: dict[str, Candidates] = {}
    for start in range(0, len(queries), BATCH):
        some = queries[start : start + BATCH]
        offered = window.candidates(some, [most] * len(window.sources))
        found |= {query.user_id: candidates for query, candidates in zip(some, offered, strict=True)}
    return found


def slate_figures(
    model: Model, panel: Panel, candidates: Sequence[Candidates], *, seed: int, requests: int
) -> dict[str, float]:
    """Return what a second stage's slates are worth to a panel, and what they cost.

    ``ndcg@10``, ``recall@10`` and ``ild@10`` are means over the viewers, ``coverage@10`` is the share of the catalogue
    that their slates show together: as :mod:`foveate.evaluation` measures them. ``rank_ms`` is the median of the
    milliseconds of one thread's work that features, scores and slate of a single request take, retrieval left out; what
    else runs on the machine, such as another trial, does not count.

    Parameters
    ----------
    model
        With the features, the ranker and the recipe; it needs no source.
    candidates
        Of each of the panel's queries.
    requests
        How many of them are timed.
    """
    outcomes = Outcomes(seed)
    start = 0
    for batch in panel.batches(BATCH):
        ranked = model.rank(batch.queries, candidates[start : start + len(batch.queries)])
        slates = [model.select(one, SLATE_SIZE, seed).items for one in ranked]
        ranks = [positions_of(batch.targets[batch.of(viewer)], slate) for viewer, slate in enumerate(slates)]
        outcomes.add(SLATE, np.concatenate(ranks), slates)
        start += len(batch.queries)
    figures = means(outcomes.by_model[SLATE], panel.offsets, model.catalog)
    return {**figures, "rank_ms": _milliseconds(model, panel.queries, candidates, seed, requests)}


def rivals(window: LabelWindow, catalog: Catalog, panel: Panel, recipe: Recipe) -> dict[str, dict[str, float]]:
    """Return what the encoder, popularity and the plain blend of the recipe's sources show the same panel."""
    sources = {source.name: source for source in window.sources}
    if POPULARITY not in sources:
        histories = window.stage.history.histories(catalog.duration)
        context = FitContext(histories, catalog, window.stage.now, recipe.seed)
        sources[POPULARITY] = SourceConfig.variants[POPULARITY]().fit(context)
    outcomes = Outcomes(recipe.seed)
    for batch in panel.batches(BATCH):
        for name in (POPULARITY, ENCODER):
            outcomes.add(name, *by_source(sources[name], batch))
        candidates = window.candidates(batch.queries, recipe.counts)
        blend = [z_scores(one.scores).mean(axis=1) for one in candidates]
        outcomes.add(BLEND, *by_candidates(blend, candidates, batch))
    return {name: _finite(means(outcome, panel.offsets, catalog)) for name, outcome in outcomes.by_model.items()}


def _finite(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _milliseconds(
    model: Model, queries: Sequence[Query], candidates: Sequence[Candidates], seed: int, requests: int
) -> float:
    evenly: NDArray[np.int64] = np.linspace(0, len(queries) - 1, min(requests, len(queries))).astype(np.int64)
    seconds = []
    with threadpool_limits(1):
        for place in [*evenly[:_WARM].tolist(), *evenly.tolist()]:
            started = time.thread_time()
            [ranked] = model.rank([queries[place]], [candidates[place]])
            model.select(ranked, SLATE_SIZE, seed)
            seconds.append(time.thread_time() - started)
    return float(np.median(seconds[min(_WARM, len(evenly)) :]) * 1e3)
