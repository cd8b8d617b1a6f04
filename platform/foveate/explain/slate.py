"""A slate, explained: the same steps as :mod:`foveate.pipeline`, and what each of them made of the items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from foveate.data.catalog import Catalog
from foveate.errors import NotFoundError
from foveate.explain.answers import Contribution, HistoryItem, ItemExplanation, Look, SlateExplanation
from foveate.explain.history import NAMED, Story, stories
from foveate.explain.ranking import Weighed, weigh
from foveate.explain.sentences import Names, why
from foveate.messages import RecommendRequest, RequestContext, Slate, SlateItem
from foveate.model import Model
from foveate.pipeline import hydrate, select
from foveate.state.base import ViewerState

_TOLD = 10
"""How many items of the history are told of, at most."""


def explain(
    model: Model, state: ViewerState, request: RecommendRequest, context: RequestContext
) -> tuple[Slate, SlateExplanation]:
    """Make a slate, the one that ``recommend`` makes, and say why each item stands in it."""
    [(query, version)] = hydrate(model, state, [request], [context])
    candidates = model.candidates([query])
    [ranked] = model.rank([query], candidates)
    [slate] = select(model, [request], [ranked], [context])
    chosen = model.select(ranked, request.k, context.seed)
    carried = stories(model.sources, query, ranked.candidates, chosen.items)
    weighed = weigh(model, ranked, chosen, request.k, context.seed)
    cold = not query.positives.any()
    return slate, told(model.catalog, slate, version, carried, weighed, cold=cold)


def told(
    catalog: Catalog, slate: Slate, version: int, carried: Sequence[Story], weighed: Sequence[Weighed], *, cold: bool
) -> SlateExplanation:
    """Put the parts of an explanation into ids, titles and words.

    Parameters
    ----------
    version
        Of the history that was read.
    carried, weighed
        One each an item of the slate.
    cold
        Whether the viewer has no history that counts.
    """
    names = Names(catalog)
    parts = zip(slate.items, carried, weighed, strict=True)
    items = [_item(names, item, story, own, cold=cold) for item, story, own in parts]
    return SlateExplanation(slate.user_id, slate.bundle_id, version, tuple(items))


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
