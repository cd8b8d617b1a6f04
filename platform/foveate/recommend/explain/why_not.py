"""Why an item is not in a viewer's slate: the first stage of the slate's run at which the item fell."""

from __future__ import annotations

from dataclasses import replace

from foveate.core.messages import RecommendRequest, RequestContext
from foveate.recommend.explain.answers import WhyNot
from foveate.recommend.explain.judging import before_retrieval, in_retrieval
from foveate.recommend.explain.stages import ExplainStages
from foveate.recommend.model import Model
from foveate.recommend.pipeline import run
from foveate.recommend.surfaces.base import surface_of


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
    """
    seen = await run(request, context, stages)
    answer = before_retrieval(model.catalog, seen.query, context, item_id)
    if answer is not None:
        return answer
    places = await stages.source_ranks(seen.query, model.catalog.items.code(item_id), context)
    offers = surface_of(context.surface).offers(model.recipe)
    answer = in_retrieval(model.catalog, offers, seen.candidates, item_id, places)
    if answer is not None:
        return answer
    return replace(await stages.judge(request, seen.query, seen.candidates, context, item_id), source_ranks=places)
