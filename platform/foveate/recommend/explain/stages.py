"""What an explanation asks beyond the stages of a request: of the sources, and of ranker, policy and rules."""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Candidates, Query, Ranked, RecommendRequest, RequestContext
from foveate.recommend.explain.answers import WhyNot
from foveate.recommend.explain.history import Story, stories
from foveate.recommend.explain.judging import judge, source_ranks
from foveate.recommend.explain.ranking import Weighed, weigh
from foveate.recommend.pipeline import LocalStages, Stages, view
from foveate.recommend.surfaces.base import surface_of

R = TypeVar("R")


class ExplainStages(Stages[R], Protocol[R]):
    """The stages of a request, and what they can tell of one when asked; ``R`` as in ``Stages``."""

    async def stories(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[Story]:
        """Ask the sources what carried ``items``, which are among ``candidates``."""
        ...

    async def weigh(self, request: RecommendRequest, ranked: R, context: RequestContext) -> list[Weighed]:
        """Say what features, policy and rules made of each item of the slate."""
        ...

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Ask every source for an item's place among all that are open to the viewer."""
        ...

    async def judge(self, request: RecommendRequest, ranked: R, context: RequestContext, item_id: str) -> WhyNot:
        """Say what ranker, policy and rules made of a candidate."""
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

    async def stories(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[Story]:
        """Ask the sources what carried ``items``, which are among ``candidates``."""
        sources = surface_of(context.surface).sources(self._model)
        return stories(sources, query, candidates, items)

    async def weigh(self, request: RecommendRequest, ranked: Ranked, context: RequestContext) -> list[Weighed]:
        """Say what features, policy and rules made of each item of the slate."""
        return weigh(view(self._model, request, context), ranked, request.k, context.seed)

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Ask every source for an item's place among all that are open to the viewer."""
        return source_ranks(surface_of(context.surface).sources(self._model), query, code)

    async def judge(self, request: RecommendRequest, ranked: Ranked, context: RequestContext, item_id: str) -> WhyNot:
        """Say what ranker, policy and rules made of a candidate."""
        return judge(view(self._model, request, context), ranked, request.k, context.seed, item_id)
