"""A slate, explained: the same steps as :mod:`foveate.recommend.pipeline`, and what each of them made of the items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from foveate.core.errors import NotFoundError
from foveate.core.messages import RecommendRequest, RequestContext, Slate, SlateItem
from foveate.data.catalog import Catalog
from foveate.recommend.explain.answers import Contribution, HistoryItem, ItemExplanation, Look, SlateExplanation
from foveate.recommend.explain.history import NAMED, Story
from foveate.recommend.explain.ranking import Weighed
from foveate.recommend.explain.sentences import Names, why
from foveate.recommend.explain.stages import ExplainStages, R

_TOLD = 10
"""How many items of the history are told of, at most."""


async def explain(
    request: RecommendRequest, context: RequestContext, stages: ExplainStages[R], catalog: Catalog
) -> tuple[Slate, SlateExplanation]:
    """Make a slate, the one that ``recommend`` makes, and say why each item stands in it."""
    [(query, version)] = await stages.hydrate([request], [context])
    [candidates] = await stages.retrieve([query], [context])
    [ranked] = await stages.rank([query], [candidates], [context])
    [chosen] = await stages.select([request], [ranked], [context])
    slate = replace(chosen, state_version=version)
    items = catalog.items.encode([item.item_id for item in slate.items])
    carried = await stages.stories(query, candidates, items, context)
    weighed = await stages.weigh(request, ranked, context)
    return slate, told(catalog, slate, carried, weighed, cold=not query.positives.any())


def told(
    catalog: Catalog, slate: Slate, carried: Sequence[Story], weighed: Sequence[Weighed], *, cold: bool
) -> SlateExplanation:
    """Put the parts of an explanation into ids, titles and words.

    Parameters
    ----------
    carried, weighed
        One each an item of the slate.
    cold
        Whether the viewer has no history that counts.
    """
    names = Names(catalog)
    parts = zip(slate.items, carried, weighed, strict=True)
    items = [_item(names, item, story, own, cold=cold) for item, story, own in parts]
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


def _item(names: Names, item: SlateItem, story: Story, weighed: Weighed, *, cold: bool) -> ItemExplanation:
    signal = max(weighed.largest, key=lambda one: one[1], default=("", 0.0))
    sentence = why(
        [names.said(code) for code in story.items[:NAMED].tolist()],
        reads=story.source is not None,
        cold=cold,
        strongest=signal[0] if signal[1] > 0 else None,
        rank=weighed.rank,
        moved_by=weighed.moved_by,
    )
    looks = zip(story.looked.tolist(), story.looks.tolist(), strict=True)
    return ItemExplanation(
        item_id=item.item_id,
        title=names.title(names.code(item.item_id)),
        position=item.position,
        score=item.score,
        sources=item.sources,
        carried_by=story.source,
        history=tuple(_history(names, story)),
        faithfulness=story.faithfulness,
        attention=tuple(Look(names.item_id(code), names.title(code), share) for code, share in looks),
        attention_faithfulness=story.look_faithfulness,
        base=weighed.base,
        contributions=tuple(Contribution(*one) for one in weighed.largest),
        others=weighed.others,
        rank=weighed.rank,
        moved_by=weighed.moved_by,
        sentence=sentence,
    )


def _history(names: Names, story: Story) -> Iterator[HistoryItem]:
    total = float(np.sum(story.drops, dtype=np.float64))
    for code, drop in zip(story.items[:_TOLD].tolist(), story.drops.tolist(), strict=False):
        yield HistoryItem(names.item_id(code), names.title(code), drop, drop / total)
