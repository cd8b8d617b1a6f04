"""Why an item is not in a viewer's slate: each step of a request is asked in turn whether the item fell there."""

from __future__ import annotations

from dataclasses import replace

from foveate.core.messages import RecommendRequest, RequestContext
from foveate.recommend.explain.answers import WhyNot
from foveate.recommend.explain.judging import before_retrieval, in_retrieval
from foveate.recommend.explain.stages import ExplainStages, R
from foveate.recommend.model import Model
from foveate.recommend.surfaces.base import surface_of


async def why_not(
    request: RecommendRequest, context: RequestContext, stages: ExplainStages[R], model: Model, item_id: str
) -> WhyNot:
    """Say where an item falls on its way to the slate that ``recommend`` makes for the same request and context.

    Parameters
    ----------
    model
        Its catalogue and recipe are read.
    item_id
        Any id, one that the catalogue does not hold included.
    """
    [(query, _)] = await stages.hydrate([request], [context])
    answer = before_retrieval(model.catalog, query, context, item_id)
    if answer is not None:
        return answer
    places = await stages.source_ranks(query, model.catalog.items.code(item_id), context)
    [candidates] = await stages.retrieve([query], [context])
    offers = surface_of(context.surface).offers(model.recipe)
    answer = in_retrieval(model.catalog, offers, candidates, item_id, places)
    if answer is not None:
        return answer
    [ranked] = await stages.rank([query], [candidates], [context])
    return replace(await stages.judge(request, ranked, context, item_id), source_ranks=places)
