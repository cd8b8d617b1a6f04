"""Explanations read off an observed run of the pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import FoveateError, NotFoundError
from foveate.core.messages import Candidates, Query, Ranked, RecommendRequest, RequestContext, Slate, SlateItem
from foveate.data.catalog import Catalog
from foveate.recommend.explain.answers import (
    Contribution,
    HistoryItem,
    ItemExplanation,
    Look,
    SlateExplanation,
    WhyNot,
)
from foveate.recommend.explain.elimination import before_retrieval, in_ranking, in_retrieval, source_ranks
from foveate.recommend.explain.history import NAMED, ItemAttribution, attribute_items
from foveate.recommend.explain.ranking import RankingExplanation, explain_ranking
from foveate.recommend.explain.sentences import Names, why
from foveate.recommend.model import Chosen, Model
from foveate.recommend.pipeline import LocalStages, Stages, Trace, recommend
from foveate.recommend.surfaces.base import surface_of

_LISTED = 10
"""How many items of the history are named, at most."""


class StageLostError(FoveateError):
    """A stage is missing for which nothing can stand in."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """Notes what features, policy and rules made of each item of the slate."""

    def answered(
        self, model: Model, ranked: Ranked, chosen: Chosen, request: RecommendRequest, context: RequestContext
    ) -> list[RankingExplanation]:
        """Return one entry an item of the slate."""
        return explain_ranking(model, ranked, chosen, request.k, context)


@dataclass(frozen=True, slots=True)
class Following:
    """Notes where an item fell that was a candidate."""

    item_id: str

    def answered(
        self, model: Model, ranked: Ranked, chosen: Chosen, request: RecommendRequest, context: RequestContext
    ) -> WhyNot | None:
        """Return what ranker, policy and rules made of the item; None where it was no candidate."""
        if model.catalog.items.code(self.item_id) not in ranked.candidates.items:
            return None
        return in_ranking(model, ranked, chosen, self.item_id, size=request.k, context=context)


class ExplainStages(Stages, Protocol):
    """The stages of a request, and what its sources say when they are asked about items."""

    async def attribute_items(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[ItemAttribution]:
        """Attribute ``items``, which are among ``candidates``, to the history, by the sources that offered them."""
        ...

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Ask every source for an item's place among all that are open to the viewer."""
        ...


class LocalExplainStages(LocalStages):
    """The stages of an explanation in this process.

    Parameters
    ----------
    model
        What was trained.
    state
        Where histories are read.
    """

    async def attribute_items(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[ItemAttribution]:
        """Attribute ``items``, which are among ``candidates``, to the history, by the sources that offered them."""
        return attribute_items(surface_of(context.surface).sources(self._model), query, candidates, items)

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Ask every source for an item's place among all that are open to the viewer."""
        return source_ranks(surface_of(context.surface).sources(self._model), query, code)


async def explain(
    request: RecommendRequest, context: RequestContext, stages: ExplainStages, catalog: Catalog
) -> tuple[Slate, SlateExplanation]:
    """Make a slate, the one that ``recommend`` makes, and say why each item stands in it.

    Raises
    ------
    StageLostError
        Something stood in for a stage: there is no ranking to explain.
    """
    trace = Trace(Weighing())
    slate = await recommend(request, context, stages, trace)
    query, candidates, ranking = trace.query, trace.candidates, trace.notes
    if query is None or candidates is None or ranking is None or slate.degraded:
        raise _lost(slate)
    items = catalog.items.encode([item.item_id for item in slate.items])
    attributions = await stages.attribute_items(query, candidates, items, context)
    cold, likes = not query.positives.any(), request.likes is not None
    return slate, slate_explanation(catalog, slate, attributions, ranking, cold=cold, likes=likes)


async def why_not(
    request: RecommendRequest, context: RequestContext, stages: ExplainStages, model: Model, item_id: str
) -> WhyNot:
    """Say where an item falls on its way to the slate that ``recommend`` makes for the same request and context.

    Parameters
    ----------
    model
        Its catalogue and recipe are read.
    item_id
        Any id, one that the catalogue does not hold included.

    Raises
    ------
    StageLostError
        Something stood in for a stage that the item came to.
    """
    trace = Trace(Following(item_id))
    slate = await recommend(request, context, stages, trace)
    query, candidates = trace.query, trace.candidates
    if query is None or candidates is None:
        raise _lost(slate)
    answer = before_retrieval(model.catalog, query, context, item_id)
    if answer is not None:
        return answer
    if slate.degraded:
        raise _lost(slate)
    ranks_by_source = await stages.source_ranks(query, model.catalog.items.code(item_id), context)
    offers = surface_of(context.surface).offers(model.recipe)
    answer = in_retrieval(model.catalog, offers, candidates, item_id, ranks_by_source) or trace.notes
    if answer is None:
        raise _lost(slate)
    return replace(answer, source_ranks=ranks_by_source)


def _lost(slate: Slate) -> StageLostError:
    return StageLostError(f"the slate cannot be explained, for stages were missing ({', '.join(slate.degraded)})")


def slate_explanation(
    catalog: Catalog,
    slate: Slate,
    attributions: Sequence[ItemAttribution],
    ranking: Sequence[RankingExplanation],
    *,
    cold: bool,
    likes: bool,
) -> SlateExplanation:
    """Put the parts of an explanation into ids, titles and words.

    Parameters
    ----------
    attributions, ranking
        One each an item of the slate.
    cold
        Whether the viewer has no history that counts.
    likes
        Whether the history begins with what the viewer said that they like.
    """
    names = Names(catalog)
    parts = zip(slate.items, attributions, ranking, strict=True)
    items = [_item(names, item, attribution, own, cold=cold, likes=likes) for item, attribution, own in parts]
    return SlateExplanation(slate.user_id, slate.bundle_id, slate.state_version, tuple(items))


def explain_item(explanation: SlateExplanation, item_id: str) -> ItemExplanation:
    """Return one item's explanation.

    Raises
    ------
    NotFoundError
        The item is not in the slate.
    """
    for item in explanation.items:
        if item.item_id == item_id:
            return item
    raise NotFoundError(
        f"item '{item_id}' is not in the slate of viewer '{explanation.user_id}': ask 'foveate why-not' for the reason"
    )


def _item(
    names: Names,
    item: SlateItem,
    attribution: ItemAttribution,
    ranking: RankingExplanation,
    *,
    cold: bool,
    likes: bool,
) -> ItemExplanation:
    sentence = why(
        [names.said(code) for code in attribution.items[:NAMED].tolist()],
        reads=attribution.source is not None,
        cold=cold,
        likes=likes,
        rank=ranking.rank,
        moved_by=ranking.moved_by,
    )
    weights = zip(attribution.attended.tolist(), attribution.weights.tolist(), strict=True)
    return ItemExplanation(
        item_id=item.item_id,
        title=names.title(names.code(item.item_id)),
        position=item.position,
        score=item.score,
        sources=item.sources,
        carried_by=attribution.source,
        history=tuple(_history(names, attribution)),
        faithfulness=attribution.faithfulness,
        attention=tuple(Look(names.item_id(code), names.title(code), share) for code, share in weights),
        attention_faithfulness=attribution.attention_faithfulness,
        base=ranking.base,
        contributions=tuple(Contribution(*one) for one in ranking.largest),
        others=ranking.others,
        rank=ranking.rank,
        moved_by=ranking.moved_by,
        sentence=sentence,
    )


def _history(names: Names, attribution: ItemAttribution) -> Iterator[HistoryItem]:
    total = float(np.sum(attribution.drops, dtype=np.float64))
    for code, drop in zip(attribution.items[:_LISTED].tolist(), attribution.drops.tolist(), strict=False):
        yield HistoryItem(names.item_id(code), names.title(code), drop, drop / total)
