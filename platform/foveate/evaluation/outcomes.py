"""Answers of models to a panel: the rank of every target, and the list that would be shown.

A candidate source ranks the whole catalogue. The blend and the two stages order the same candidates, and a target
that is not among them counts as missed; the slate has :data:`SLATE_SIZE` places and nothing behind them.

Shapes: ``B`` viewers, ``T`` targets, ``I`` items, ``N`` candidates, ``K`` places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Candidates, Filters, Ranked, RecommendRequest, RequestContext
from foveate.core.metrics import Floats, mid_ranks_among, mid_ranks_many
from foveate.evaluation.panel import Panel, request_seed
from foveate.features.candidate import z_scores
from foveate.ranking.base import Ranker, best_first, score_each
from foveate.recommend.model import Chosen, Model
from foveate.recommend.pipeline import choose, rank, retrieve
from foveate.retrieval.base import CandidateSource, top_k
from foveate.slate.constraints import UNCONSTRAINED, broken
from foveate.slate.inputs import Selection

SLATE_SIZE = 10
BLEND, LOGISTIC, TWO_STAGE, SLATE = "blend", "logistic blend", "two-stage", "slate"

_SCORES_A_BATCH = 8_000_000

Codes = NDArray[np.int32]


@dataclass
class Outcome:
    """One model's answers; ``ranks`` joins to ``[T]``, ``lists`` to ``[B, K]`` with ``-1`` where a list is short."""

    ranks: list[Floats] = field(default_factory=list)
    lists: list[Codes] = field(default_factory=list)

    def all_ranks(self) -> Floats:
        """``[T]``: ranks from 0, ``inf`` where missed."""
        return np.concatenate(self.ranks)

    def all_lists(self) -> Codes:
        """``[B, K]``: what each viewer would be shown."""
        return np.concatenate(self.lists)


@dataclass
class CapCount:
    """What the constraints did to the slates.

    ``bound`` slates would break a hard rule without them, ``broken`` do (never, one hopes); in ``relaxed`` a soft rule
    was given up and ``short`` ones are not full. ``paid`` sums the relevance given up for policy and constraints.
    """

    slates: int = 0
    bound: int = 0
    broken: int = 0
    relaxed: int = 0
    short: int = 0
    paid: float = 0.0

    def add(self, selection: Selection, *, would_break: bool, breaks: bool) -> None:
        """Count one slate."""
        self.slates += 1
        self.bound += would_break
        self.broken += breaks
        self.relaxed += bool(selection.relaxed)
        self.short += len(selection.chosen) < SLATE_SIZE
        self.paid += selection.relevance_paid

    def extend(self, later: CapCount) -> None:
        """Count another panel's slates as well."""
        self.slates += later.slates
        self.bound += later.bound
        self.broken += later.broken
        self.relaxed += later.relaxed
        self.short += later.short
        self.paid += later.paid


@dataclass
class Outcomes:
    """All models' answers to one panel, trained with one seed."""

    seed: int
    by_model: dict[str, Outcome] = field(default_factory=dict)
    caps: CapCount = field(default_factory=CapCount)

    def add(self, model: str, ranks_T: Floats, lists: Sequence[Codes]) -> None:
        """Append one batch's answers."""
        outcome = self.by_model.setdefault(model, Outcome())
        outcome.ranks.append(ranks_T)
        outcome.lists.append(_padded(lists))

    def extend(self, later: Outcomes) -> None:
        """Append another panel's answers; a model that does not stand in both is left out."""
        self.by_model = {name: own for name, own in self.by_model.items() if name in later.by_model}
        for name, own in self.by_model.items():
            own.ranks.extend(later.by_model[name].ranks)
            own.lists.extend(later.by_model[name].lists)
        self.caps.extend(later.caps)


@dataclass(frozen=True)
class Subject:
    """What is asked: a model, every source that stands beside it in the table, and other rankers of its candidates."""

    model: Model
    sources: tuple[CandidateSource, ...]
    rankers: Mapping[str, Ranker] = field(default_factory=dict)


def answer(subject: Subject, panel: Panel, seed: int, progress: Callable[[str], None]) -> Outcomes:
    """Ask a subject about every viewer of the panel."""
    outcomes, model = Outcomes(seed), subject.model
    size = max(1, min(256, _SCORES_A_BATCH // max(1, len(model.catalog))))
    done = 0
    for batch in panel.batches(size):
        for source in subject.sources:
            outcomes.add(source.name, *by_source(source, batch))
        requests, contexts = asked_of(batch, seed)
        candidates = retrieve(model, batch.queries, contexts)
        ranked = rank(model, batch.queries, candidates, contexts)
        blends = [z_scores(c.scores).mean(axis=1) for c in candidates]
        outcomes.add(BLEND, *by_candidates(blends, candidates, batch))
        for name, ranker in subject.rankers.items():
            scores = score_each(ranker, [r.features for r in ranked])
            outcomes.add(name, *by_candidates(scores, candidates, batch))
        outcomes.add(TWO_STAGE, *by_candidates([r.scores for r in ranked], candidates, batch))
        slates = list(zip(ranked, choose(model, requests, ranked, contexts), contexts, strict=True))
        outcomes.add(SLATE, *_by_slate(model, batch, slates, outcomes.caps))
        done += len(batch.queries)
        progress(f"asked {done:,} of {len(panel.queries):,} viewers")
    return outcomes


def by_source(source: CandidateSource, batch: Panel) -> tuple[Floats, list[Codes]]:
    """Return ``[T]`` ranks by one source alone, and what each viewer would be shown."""
    scores_BI = source.scores(batch.queries)
    excludes = [query.exclude for query in batch.queries]
    ranks_T = np.full(len(batch.targets), np.inf)
    asked = batch.reachable
    ranks_T[asked] = mid_ranks_many(scores_BI, batch.viewer_of_target()[asked], batch.targets[asked], excludes)
    return ranks_T, [top_k(row_I, exclude, SLATE_SIZE) for row_I, exclude in zip(scores_BI, excludes, strict=True)]


def by_candidates(
    scores: Sequence[NDArray[np.floating]], candidates: Sequence[Candidates], batch: Panel
) -> tuple[Floats, list[Codes]]:
    """Return ``[T]`` ranks among each viewer's candidates by their scores, and what the viewer would be shown."""
    ranks = [
        mid_ranks_among(scores_N, c.items, batch.targets[batch.of(viewer)])
        for viewer, (scores_N, c) in enumerate(zip(scores, candidates, strict=True))
    ]
    lists = [c.items[best_first(s, c.items)[:SLATE_SIZE]] for s, c in zip(scores, candidates, strict=True)]
    return np.concatenate(ranks), lists


def asked_of(panel: Panel, seed: int) -> tuple[list[RecommendRequest], list[RequestContext]]:
    """Return what each viewer of a panel asks: :data:`SLATE_SIZE` items of their own feed, at the moment of the cut."""
    seeds = [request_seed(query, seed) for query in panel.queries]
    rows = list(zip(panel.queries, seeds, strict=True))
    requests = [RecommendRequest(query.user_id, k=SLATE_SIZE, now=query.now, seed=drawn) for query, drawn in rows]
    contexts = [RequestContext("", query.now, "", 0, "home", drawn, Filters()) for query, drawn in rows]
    return requests, contexts


def _by_slate(
    model: Model, batch: Panel, slates: Sequence[tuple[Ranked, Chosen, RequestContext]], caps: CapCount
) -> tuple[Floats, list[Codes]]:
    policy, constraints = model.recipe.policy, model.recipe.constraints
    ranks = []
    for viewer, (own, slate, context) in enumerate(slates):
        pool = model.slate_input(own)
        would_show = policy.select(pool, SLATE_SIZE, UNCONSTRAINED, context.seed).chosen
        caps.add(
            slate.selection,
            would_break=bool(broken(pool, would_show, constraints.hard, SLATE_SIZE)),
            breaks=bool(broken(pool, slate.selection.chosen, constraints.hard, SLATE_SIZE)),
        )
        ranks.append(positions_of(batch.targets[batch.of(viewer)], slate.items))
    return np.concatenate(ranks), [slate.items for _, slate, _ in slates]


def positions_of(targets: Codes, slate: Codes) -> Floats:
    """Return the place of each of one viewer's targets in a slate, ``inf`` for one that is not in it."""
    found_TK = targets[:, None] == slate[None, :]
    return np.where(found_TK.any(axis=1), found_TK.argmax(axis=1) if len(slate) else 0, np.inf)


def _padded(lists: Sequence[Codes]) -> Codes:
    out = np.full((len(lists), SLATE_SIZE), -1, dtype=np.int32)
    for row, codes in enumerate(lists):
        out[row, : len(codes)] = codes
    return out
