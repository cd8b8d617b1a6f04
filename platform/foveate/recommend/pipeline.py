"""One request, from start to end. Read this first.

The same :func:`recommend` runs in process (``foveate recommend``, ``foveate replay``) and over Ray Serve: only the
:class:`Stages` differ. What stages do for many requests at once are the functions :func:`hydrate`, :func:`retrieve`,
:func:`rank` and :func:`select`; evaluation calls the same ones. An explanation is a run that a :class:`Trace` observes.

Where a slate is shown, its :mod:`surface <foveate.recommend.surfaces>`, says what its query starts from, which sources
are asked, and whether ranker and policy take part. What decides a slate is the bundle, the viewer's history at one
version, the request and its :class:`~foveate.core.messages.RequestContext`: with the same, the same slate comes out
again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from math import isnan
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from foveate.core.config import to_dict
from foveate.core.messages import (
    Candidates,
    Query,
    Ranked,
    RecommendRequest,
    RequestContext,
    Slate,
    SlateItem,
    ViewerHistory,
)
from foveate.recommend.likes import may_show, stand_ins, with_likes
from foveate.recommend.model import Chosen, Model
from foveate.recommend.recipe import Recipe
from foveate.recommend.surfaces.base import Surface, surface_of
from foveate.retrieval.merge import gather
from foveate.slate.exploration.config import draw_of
from foveate.state.base import ViewerState

Requests: TypeAlias = Sequence[RecommendRequest]
Contexts: TypeAlias = Sequence[RequestContext]

Notes_co = TypeVar("Notes_co", covariant=True)
Notes = TypeVar("Notes")


class Observer(Protocol[Notes_co]):
    """Looks at what ranker and policy made of a request.

    It goes to where the ranker is, and what it notes comes back: features and scores of all candidates stay there.
    """

    def answered(
        self, model: Model, ranked: Ranked, chosen: Chosen, request: RecommendRequest, context: RequestContext
    ) -> Notes_co:
        """Note what is of interest.

        Parameters
        ----------
        model
            As it chooses this request's slate; see :func:`view`.
        """
        ...


@dataclass
class Trace(Generic[Notes]):
    """What is observed of one run of :func:`recommend`, beside its slate.

    Parameters
    ----------
    observer
        Goes with the request to the last stage.
    query, candidates
        What the stages handed on, as far as the request came.
    notes
        What the observer noted; None where no ranker took part, for something stood in for a stage.
    """

    observer: Observer[Notes]
    query: Query | None = None
    candidates: Candidates | None = None
    notes: Notes | None = None


class Stages(Protocol):
    """What :func:`recommend` calls for one request, in this order.

    A stage that profits from batches gathers them itself, from all the requests that are under way.
    """

    async def hydrate(self, request: RecommendRequest, context: RequestContext) -> tuple[Query, int]:
        """Read the viewer's history and its version, and gather what must not be shown."""
        ...

    async def retrieve(self, query: Query, context: RequestContext) -> Candidates:
        """Ask every candidate source and return the union."""
        ...

    async def answer(
        self,
        request: RecommendRequest,
        query: Query,
        candidates: Candidates,
        context: RequestContext,
        trace: Trace[Any] | None = None,
    ) -> Slate:
        """Score every candidate, and choose the slate under the policy and its constraints."""
        ...


async def recommend(
    request: RecommendRequest, context: RequestContext, stages: Stages, trace: Trace[Any] | None = None
) -> Slate:
    """Answer one request.

    Parameters
    ----------
    request, context
        What is asked, and what was pinned for it: see :func:`make_context`.
    stages
        Who does the work.
    trace
        Filled with what the stages made, for explanations.
    """
    query, version = await stages.hydrate(request, context)
    if trace is not None:
        trace.query = query
    candidates = await stages.retrieve(query, context)
    if trace is not None:
        trace.candidates = candidates
    slate = await stages.answer(request, query, candidates, context, trace)
    return replace(slate, state_version=version)


def make_context(
    request: RecommendRequest,
    bundle_id: str,
    *,
    clock: Callable[[], int],
    budget: int = 1_000_000,
    request_id: str | None = None,
    exploration: str = "",
) -> RequestContext:
    """Pin what a request leaves open: the moment, the seed, the bundle, the deadline.

    Parameters
    ----------
    clock
        Gives UTC microseconds.
    budget
        Microseconds until an answer is of no use, counted on the clock, not from the request's own ``now``.
    request_id
        Name of the request; None makes one.
    exploration
        What is explored, as ``Exploration.text`` writes it; empty for nothing.
    """
    time = clock()
    return RequestContext(
        request_id=_fresh_id(time) if request_id is None else request_id,
        now=time if request.now is None else request.now,
        bundle_id=bundle_id,
        deadline=time + budget,
        surface=request.surface,
        seed=secrets.randbits(31) if request.seed is None else request.seed,
        filters=request.filters,
        exploration=exploration,
        seed_drawn=request.seed is None or request.seed_drawn,
    )


def _fresh_id(micros: int) -> str:
    """Return an id as 32 hexadecimal digits. Later ones sort after earlier ones: a store adds them at its end.

    Source: RFC 9562, section 5.7 (UUID version 7).
    """
    version, variant = 7 << 76, 2 << 62
    moment = (micros // 1000 & (1 << 48) - 1) << 80
    return f"{moment | version | secrets.randbits(12) << 64 | variant | secrets.randbits(62):032x}"


class LocalStages:
    """The stages in this process.

    Parameters
    ----------
    model
        What was trained.
    state
        Where histories are read.
    """

    def __init__(self, model: Model, state: ViewerState) -> None:
        self._model = model
        self._state = state

    async def hydrate(self, request: RecommendRequest, context: RequestContext) -> tuple[Query, int]:
        """Read the viewer's history and its version, and gather what must not be shown."""
        [hydrated] = hydrate(self._model, self._state, [request], [context])
        return hydrated

    async def retrieve(self, query: Query, context: RequestContext) -> Candidates:
        """Ask every candidate source and return the union."""
        [candidates] = retrieve(self._model, [query], [context])
        return candidates

    async def answer(
        self,
        request: RecommendRequest,
        query: Query,
        candidates: Candidates,
        context: RequestContext,
        trace: Trace[Any] | None = None,
    ) -> Slate:
        """Score every candidate, and choose the slate under the policy and its constraints."""
        if trace is None:
            ranked = rank(self._model, [query], [candidates], [context])
            [slate] = select(self._model, [request], ranked, [context])
            return slate
        slate, trace.notes = observed(self._model, request, query, candidates, context, observer=trace.observer)
        return slate


def recommend_many(model: Model, state: ViewerState, requests: Requests, contexts: Contexts) -> list[Slate]:
    """Answer several requests at once, in this process.

    Returns
    -------
    list of Slate
        In the order of the requests. A batch agrees with its members one at a time but for the rounding of float32;
        ties are broken by item code.
    """
    hydrated = hydrate(model, state, requests, contexts)
    queries = [query for query, _ in hydrated]
    ranked = rank(model, queries, retrieve(model, queries, contexts), contexts)
    slates = select(model, requests, ranked, contexts)
    return [replace(slate, state_version=version) for slate, (_, version) in zip(slates, hydrated, strict=True)]


def hydrate(model: Model, state: ViewerState, requests: Requests, contexts: Contexts) -> list[tuple[Query, int]]:
    """Read who asks and turn it into a query of ``model``, as the surface has it; also the history's version.

    Raises
    ------
    RequestError
        A surface cannot answer its request.
    """
    viewers = list(dict.fromkeys(request.user_id for request in requests if request.user_id))
    known = dict(zip(viewers, state.histories(viewers), strict=True)) if viewers else {}
    return [_query(model, known, *one) for one in zip(requests, contexts, strict=True)]


def retrieve(model: Model, queries: Sequence[Query], contexts: Contexts) -> list[Candidates]:
    """Ask the sources that each query's surface names, and return the union of what they offer."""
    found: dict[int, Candidates] = {}
    for surface, rows in _by_surface(contexts):
        counts = tuple(surface.offers(model.recipe).values())
        found.update(zip(rows, gather(surface.sources(model), [queries[row] for row in rows], counts), strict=True))
    return [found[row] for row in range(len(queries))]


def rank(model: Model, queries: Sequence[Query], candidates: Sequence[Candidates], contexts: Contexts) -> list[Ranked]:
    """Score every candidate, by the ranker where the surface has one."""
    ranked: dict[int, Ranked] = {}
    for surface, rows in _by_surface(contexts):
        own = surface.rank(model, [queries[row] for row in rows], [candidates[row] for row in rows])
        ranked.update(zip(rows, own, strict=True))
    return [ranked[row] for row in range(len(queries))]


def select(model: Model, requests: Requests, ranked: Sequence[Ranked], contexts: Contexts) -> list[Slate]:
    """Choose each request's slate and write down where every item of it came from."""
    rows = zip(requests, ranked, contexts, strict=True)
    return [_selected(view(model, request, context), request, own, context)[1] for request, own, context in rows]


def choose(model: Model, requests: Requests, ranked: Sequence[Ranked], contexts: Contexts) -> list[Chosen]:
    """Choose each request's slate as :func:`select` does, in codes and with what was decided."""
    rows = zip(requests, ranked, contexts, strict=True)
    return [_chosen(view(model, request, context), request, own, context) for request, own, context in rows]


def observed(
    model: Model,
    request: RecommendRequest,
    query: Query,
    candidates: Candidates,
    context: RequestContext,
    *,
    observer: Observer[Notes],
) -> tuple[Slate, Notes]:
    """Rank and select for one request, and have it observed."""
    [ranked] = rank(model, [query], [candidates], [context])
    viewed = view(model, request, context)
    chosen, slate = _selected(viewed, request, ranked, context)
    return slate, observer.answered(viewed, ranked, chosen, request, context)


def view(model: Model, request: RecommendRequest, context: RequestContext) -> Model:
    """Return ``model`` as it chooses a request's slate on its surface."""
    return surface_of(context.surface).view(model, request)


def policy_id(recipe: Recipe) -> str:
    """Name a slate policy with its settings, constraints and list order, such as ``mmr-1f0c9a2b``."""
    parts = [to_dict(recipe.policy), to_dict(recipe.constraints)]
    # The usual order goes unsaid: policies are called what they were before there were others.
    order = [] if type(recipe.order).name == "score" else [to_dict(recipe.order)]
    settings = json.dumps([*parts, *order], sort_keys=True)
    return f"{type(recipe.policy).name}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"


def _query(
    model: Model, known: Mapping[str, ViewerHistory], request: RecommendRequest, context: RequestContext
) -> tuple[Query, int]:
    surface = surface_of(context.surface)
    surface.check(request, model)
    history = known[request.user_id] if request.user_id else _session(model, request, context.now)
    if request.likes is None:
        return surface.query(model, history, request, context), history.version
    stands = stand_ins(model, request.likes)
    liked = with_likes(model, history, request.likes, stands, context.now)
    query, met = surface.query(model, liked, request, context), (*history.item_ids, *request.likes.items)
    return may_show(model, query, stands, met, context.filters), history.version


def _session(model: Model, request: RecommendRequest, now: int) -> ViewerHistory:
    """Return what came with the request; an event without a time has just happened."""
    events = request.history or ()
    times = np.array([now if event.occurred_at is None else event.occurred_at for event in events], dtype=np.int64)
    order = np.argsort(times, kind="stable")
    return ViewerHistory(
        user_id="",
        item_ids=tuple(events[i].item_id for i in order),
        kinds=tuple(events[i].kind or model.positive_kinds[0] for i in order),
        values=np.array([events[i].value for i in order], dtype=np.float32),
        times=times[order],
    )


def _by_surface(contexts: Contexts) -> list[tuple[Surface, list[int]]]:
    """Return each surface and the rows that are of it: what is done for several queries at once is done by surface."""
    rows: dict[str, list[int]] = {}
    for row, context in enumerate(contexts):
        rows.setdefault(context.surface, []).append(row)
    return [(surface_of(name), own) for name, own in rows.items()]


def _chosen(model: Model, request: RecommendRequest, ranked: Ranked, context: RequestContext) -> Chosen:
    return model.select(ranked, request.k, context.seed, surface_of(context.surface).draw(context))


def _selected(model: Model, request: RecommendRequest, ranked: Ranked, context: RequestContext) -> tuple[Chosen, Slate]:
    chosen, candidates = _chosen(model, request, ranked, context), ranked.candidates
    rows = zip(
        model.catalog.items.decode(chosen.items),
        ranked.scores[chosen.positions].tolist(),
        candidates.offered[chosen.positions].tolist(),
        ranked.features.values[chosen.positions],
        _drawn(chosen, context),
        strict=True,
    )
    items = tuple(
        SlateItem(item_id, position, score, tuple(compress(candidates.sources, offered)), features.copy(), *drawn)
        for position, (item_id, score, offered, features, drawn) in enumerate(rows)
    )
    return chosen, Slate(
        request_id=context.request_id,
        user_id=request.user_id,
        bundle_id=context.bundle_id,
        policy_id=policy_id(model.recipe),
        feature_schema=ranked.features.schema_hash,
        items=items,
        relaxed=chosen.selection.relaxed,
        relevance_paid=chosen.selection.relevance_paid,
    )


def _drawn(chosen: Chosen, context: RequestContext) -> list[tuple[str | None, float | None]]:
    """Return each item's slot policy and propensity, None for what was not drawn.

    A seed that who asks has named is no draw: what comes of it has no propensity.
    """
    draw, odds = draw_of(context), chosen.selection.odds.tolist()
    if draw is None:
        return [(None, None)] * len(odds)
    return [(None, None) if isnan(one) else (draw.policy_id, one if context.seed_drawn else None) for one in odds]
