"""The seam of surfaces: which history a query starts from, which sources are asked, and who orders and chooses.

Shapes: ``I`` items.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import RequestError, UnknownVariantError
from foveate.core.messages import Candidates, Query, Ranked, RecommendRequest, RequestContext, ViewerHistory
from foveate.core.registry import Registry, Variant
from foveate.recommend.fallback import by_retrieval
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.retrieval.base import CandidateSource
from foveate.slate.base import SlatePolicy
from foveate.slate.constraints import Constraints
from foveate.slate.exploration.config import SlotDraw, draw_of
from foveate.slate.orders.base import ListOrder

FAVOURITES = ("recent_popularity", "popularity")
"""Sources that say what everyone watches, the more timely one first."""


class Surface(Variant):
    """Base of the surfaces; each file of this package that defines one adds a surface.

    What a viewer has met, what the request forbids and what is not out yet stays off every one, and every slate keeps
    the recipe's rules.
    """

    variants: ClassVar[Registry[Surface]]
    needs: ClassVar[tuple[str, ...]] = ()
    """Fields of the request without which there is nothing to start from."""
    takes: ClassVar[tuple[str, ...]] = ("user_id", "history", "likes")
    """Fields of the request that it understands beside."""
    ranked: ClassVar[bool] = True
    """Whether the ranker orders the candidates; if not, they keep the order that their sources gave them."""
    diversified: ClassVar[bool] = True
    """Whether the recipe's policy chooses the slate; if not, relevance does, under the same rules."""
    explained: ClassVar[bool] = False
    """Whether it gives reasons unasked."""

    @classmethod
    def about(cls) -> str:
        """Return what it shows, in one sentence."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]

    def check(self, request: RecommendRequest, model: Model) -> None:
        """Refuse a request that this surface cannot answer; of ``model``, catalogue and recipe are read.

        Raises
        ------
        RequestError
            A field is missing, is one too many, or names what the bundle does not have.
        """
        given = _given(request)
        name = type(self).name
        if {"user_id", "history"} <= given:
            raise RequestError("give 'user_id' for a viewer or 'history' for a session, not both")
        for field in self.needs:
            if field not in given:
                raise RequestError(f"the surface '{name}' needs '{field}'")
        for field in sorted(given - {*self.needs, *self.takes}):
            raise RequestError(f"the surface '{name}' takes no '{field}'")
        self.offers(model.recipe)
        self.policy(model.recipe, request)

    def lacks(self, model: Model, context: RequestContext) -> str:
        """Return what the bundle lacks without which every slate of this surface is empty; empty if nothing."""
        del model, context
        return ""

    def query(self, model: Model, history: ViewerHistory, request: RecommendRequest, context: RequestContext) -> Query:
        """Return what the sources and the ranker are asked about.

        Parameters
        ----------
        history
            What is known of who asks: the viewer's, the session's, or nothing.
        """
        del request
        return model.query(history, context.filters, context.now)

    def offers(self, recipe: Recipe) -> Mapping[str, int]:
        """Return which sources are asked, and how many items each of them offers.

        Raises
        ------
        RequestError
            The recipe has none that this surface can use.
        """
        return dict(zip((type(source).name for source in recipe.sources), recipe.counts, strict=True))

    def sources(self, model: Model) -> tuple[CandidateSource, ...]:
        """Return the fitted sources of :meth:`offers`, in its order."""
        fitted = {source.name: source for source in model.sources}
        return tuple(fitted[name] for name in self.offers(model.recipe))

    def constraints(self, constraints: Constraints) -> Constraints:
        """Return the rules of its slates, given the recipe's."""
        return constraints

    def policy(self, recipe: Recipe, request: RecommendRequest) -> SlatePolicy:
        """Return what chooses a request's slate.

        Raises
        ------
        RequestError
            The request sets a strength where there is none to set.
        """
        if not self.diversified:
            if request.diversity is not None:
                raise RequestError(f"the surface '{type(self).name}' has no diversity to set: leave 'diversity' out")
            return SlatePolicy.variants["relevance"]()
        if request.diversity is None:
            return recipe.policy
        return _with_strength(recipe.policy, request.diversity)

    def draw(self, context: RequestContext) -> SlotDraw | None:
        """Return what explores a request's slate; None where nothing does, as where no ranker orders."""
        return draw_of(context) if self.ranked else None

    def rank(self, model: Model, queries: Sequence[Query], candidates: Sequence[Candidates]) -> list[Ranked]:
        """Score every candidate."""
        if self.ranked:
            return model.rank(queries, candidates)
        return [by_retrieval(*one) for one in zip(queries, candidates, strict=True)]

    def view(self, model: Model, request: RecommendRequest) -> Model:
        """Return ``model`` as it chooses a request's slate here."""
        recipe = model.recipe
        policy, constraints = self.policy(recipe, request), self.constraints(recipe.constraints)
        order = recipe.order if self.ranked else ListOrder.variants["score"]()
        if (policy, constraints, order) == (recipe.policy, recipe.constraints, recipe.order):
            return model
        return replace(model, recipe=replace(recipe, policy=policy, constraints=constraints, order=order))


Surface.variants = Registry("surface", Surface, "foveate.recommend.surfaces")


def surface_of(name: str) -> Surface:
    """Return the surface called ``name``.

    Raises
    ------
    RequestError
        There is none; the message lists those that there are.
    """
    try:
        return Surface.variants[name]()
    except UnknownVariantError as error:
        raise RequestError(str(error)) from None


def why_empty(model: Model, request: RecommendRequest, context: RequestContext) -> str:
    """Return in one sentence why a slate has no items."""
    surface = surface_of(context.surface)
    if lack := surface.lacks(model, context):
        return f"Surface '{type(surface).name}' has nothing to show: {lack}."
    who = f"viewer '{request.user_id}'" if request.user_id else "this session"
    return f"Nothing is left for {who}: every item was seen, is filtered out, or is not available at this time."


def without(query: Query, shut_I: NDArray[np.bool_]) -> Query:
    """Return the query with further items kept out."""
    return replace(query, exclude=np.union1d(query.exclude, np.flatnonzero(shut_I)).astype(np.int32))


def _given(request: RecommendRequest) -> set[str]:
    there = {"user_id": bool(request.user_id), "history": request.history is not None}
    there |= {"related_to": request.related_to is not None, "likes": request.likes is not None}
    return {name for name, given in there.items() if given}


def _with_strength(policy: SlatePolicy, strength: float) -> SlatePolicy:
    settings = {field.name: getattr(policy, field.name) for field in fields(policy)}  # type: ignore[arg-type]
    if "strength" not in settings:
        name = type(policy).name
        raise RequestError(f"the policy '{name}' of this bundle has no strength to set: leave 'diversity' out")
    return type(policy)(**{**settings, "strength": strength})
