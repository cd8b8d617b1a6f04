"""The story of one request, from start to end. Read this first.

The same :func:`recommend` runs in process (evaluation, ``foveate recommend``, ``foveate replay``) and over Ray Serve:
only the :class:`Stages` differ. Where a slate is shown, its :mod:`surface <foveate.recommend.surfaces>`, says what its
query starts from, which sources are asked, and whether ranker and policy take part. What decides a slate is the bundle,
the viewer's history at one version, the request and its :class:`~foveate.core.messages.RequestContext`: with the same,
the same slate comes out again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from foveate.core.config import to_dict
from foveate.core.grouped import in_groups
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
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.recommend.surfaces.base import Surface, surface_of
from foveate.state.base import ViewerState

Requests: TypeAlias = Sequence[RecommendRequest]
Contexts: TypeAlias = Sequence[RequestContext]

R = TypeVar("R")
T = TypeVar("T")


class Stages(Protocol[R]):
    """What ``recommend`` calls, in this order. Each stage works on a batch; a single request is a batch of one.

    ``R`` is what stands for ranked candidates between the last two stages: in process the candidates themselves
    (:class:`~foveate.core.messages.Ranked`), over a network whatever spares them the way back and forth.
    """

    async def hydrate(self, requests: Requests, contexts: Contexts) -> list[tuple[Query, int]]:
        """Read each viewer's history and its version, and gather what must not be shown."""
        ...

    async def retrieve(self, queries: Sequence[Query], contexts: Contexts) -> list[Candidates]:
        """Ask every candidate source and return the union."""
        ...

    async def rank(self, queries: Sequence[Query], candidates: Sequence[Candidates], contexts: Contexts) -> Sequence[R]:
        """Build the features and score every candidate."""
        ...

    async def select(self, requests: Requests, ranked: Sequence[R], contexts: Contexts) -> list[Slate]:
        """Choose the slate under the policy and its constraints."""
        ...


async def recommend(request: RecommendRequest, context: RequestContext, stages: Stages[R]) -> Slate:
    """Answer one request: :func:`recommend_many` with a batch of one."""
    [slate] = await recommend_many([request], [context], stages)
    return slate


async def recommend_many(requests: Requests, contexts: Contexts, stages: Stages[R]) -> list[Slate]:
    """Answer several requests at once.

    Parameters
    ----------
    requests, contexts
        What is asked, and what was pinned for each: see :func:`make_context`.
    stages
        Who does the work.

    Returns
    -------
    list of Slate
        In the order of the requests. A batch agrees with its members one at a time but for the rounding of float32;
        ties are broken by item code.
    """
    hydrated = await stages.hydrate(requests, contexts)
    queries = [query for query, _ in hydrated]
    candidates = await stages.retrieve(queries, contexts)
    ranked = await stages.rank(queries, candidates, contexts)
    slates = await stages.select(requests, ranked, contexts)
    return [replace(slate, state_version=version) for slate, (_, version) in zip(slates, hydrated, strict=True)]


def make_context(
    request: RecommendRequest,
    bundle_id: str,
    *,
    clock: Callable[[], int],
    budget: int = 1_000_000,
    request_id: str | None = None,
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

    async def hydrate(self, requests: Requests, contexts: Contexts) -> list[tuple[Query, int]]:
        """Read each viewer's history and its version, and gather what must not be shown."""
        return hydrate(self._model, self._state, requests, contexts)

    async def retrieve(self, queries: Sequence[Query], contexts: Contexts) -> list[Candidates]:
        """Ask every candidate source and return the union."""
        return retrieve(self._model, queries, contexts)

    async def rank(
        self, queries: Sequence[Query], candidates: Sequence[Candidates], contexts: Contexts
    ) -> list[Ranked]:
        """Build the features and score every candidate."""
        return rank(self._model, queries, candidates, contexts)

    async def select(self, requests: Requests, ranked: Sequence[Ranked], contexts: Contexts) -> list[Slate]:
        """Choose the slate under the policy and its constraints."""
        return select(self._model, requests, ranked, contexts)


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
    return _by_surface(contexts, lambda surface, rows: surface.candidates(model, [queries[row] for row in rows]))


def rank(model: Model, queries: Sequence[Query], candidates: Sequence[Candidates], contexts: Contexts) -> list[Ranked]:
    """Score every candidate, by the ranker where the surface has one."""

    def ranked(surface: Surface, rows: Sequence[int]) -> list[Ranked]:
        return surface.rank(model, [queries[row] for row in rows], [candidates[row] for row in rows])

    return _by_surface(contexts, ranked)


def select(model: Model, requests: Requests, ranked: Sequence[Ranked], contexts: Contexts) -> list[Slate]:
    """Choose each request's slate and write down where every item of it came from."""
    rows = zip(requests, ranked, contexts, strict=True)
    return [_slate(view(model, request, context), request, own, context) for request, own, context in rows]


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
    return surface.query(model, history, request, context), history.version


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


def _by_surface(contexts: Contexts, work: Callable[[Surface, Sequence[int]], Sequence[T]]) -> list[T]:
    """Do the work of each surface's rows together; return one answer a row, in order."""
    return in_groups([context.surface for context in contexts], lambda name, rows: work(surface_of(name), rows))


def _slate(model: Model, request: RecommendRequest, ranked: Ranked, context: RequestContext) -> Slate:
    candidates = ranked.candidates
    chosen = model.select(ranked, request.k, context.seed)
    rows = zip(
        model.catalog.items.decode(chosen.items),
        ranked.scores[chosen.positions].tolist(),
        candidates.offered[chosen.positions].tolist(),
        ranked.features.values[chosen.positions],
        strict=True,
    )
    items = tuple(
        SlateItem(item_id, position, score, tuple(compress(candidates.sources, offered)), features.copy())
        for position, (item_id, score, offered, features) in enumerate(rows)
    )
    return Slate(
        request_id=context.request_id,
        user_id=request.user_id,
        bundle_id=context.bundle_id,
        policy_id=policy_id(model.recipe),
        feature_schema=ranked.features.schema_hash,
        items=items,
        relaxed=chosen.selection.relaxed,
        relevance_paid=chosen.selection.relevance_paid,
    )
