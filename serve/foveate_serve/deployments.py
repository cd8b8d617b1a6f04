"""The three deployments, as plain classes, and the graph that Serve builds of them: ingress, retriever, ranker.

The bundle comes by ``user_config``, so that a new one is applied to running replicas.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from ray import serve
from ray.serve.handle import DeploymentHandle

from foveate.bundle import Bundle, Part
from foveate.config import from_dict
from foveate.explain import SlateExplanation, WhyNot, explain, why_not
from foveate.explain.history import Story, stories
from foveate.explain.judging import judge, source_ranks
from foveate.explain.ranking import Weighed, weigh
from foveate.messages import Candidates, Query, Ranked, RecommendRequest, RequestContext, Slate
from foveate.model import Model
from foveate.pipeline import Contexts, Requests, make_context, recommend, select
from foveate.state.base import ServedRequest, ViewerEvent
from foveate.state.impressions import SqliteImpressions
from foveate.state.sqlite import SqliteState, utc_micros
from foveate_serve.api import build_api
from foveate_serve.config import DeploymentConfig, ServeConfig
from foveate_serve.holder import BundleHolder, BundleNotHeldError, Status
from foveate_serve.rehearsal import rehearse_query, rehearse_ranking, rehearse_retrieval
from foveate_serve.stages import RemoteStages, ToRank
from foveate_serve.writer import ImpressionWriter

logger = logging.getLogger("ray.serve")

T = TypeVar("T")

INGRESS, RETRIEVER, RANKER = "ingress", "retriever", "ranker"
BUNDLE_KEY = "bundle"
"""The one key of each deployment's ``user_config``: the bundle's folder."""

_STATUS_TIMEOUT_S = 2.0


class Retriever:
    """Asks the candidate sources."""

    def __init__(self) -> None:
        self._holder = BundleHolder(RETRIEVER, _load_sources)

    async def reconfigure(self, user_config: Mapping[str, str]) -> None:
        """Take the bundle that ``user_config`` names."""
        await self._holder.take(Path(user_config[BUNDLE_KEY]))

    async def retrieve(self, queries: Sequence[Query], contexts: Contexts) -> list[Candidates]:
        """Return each query's candidates by the bundle that its context pins."""
        model = self._holder.bundle(_pinned(contexts)).model
        # Torch would hold the event loop, and with it every other request of this replica.
        return await asyncio.to_thread(model.candidates, queries)

    async def stories(
        self, query: Query, candidates: Candidates, items: NDArray[np.int32], context: RequestContext
    ) -> list[Story]:
        """Say what carried ``items``, which are among ``candidates``."""
        sources = self._holder.bundle(context.bundle_id).model.sources
        return await asyncio.to_thread(stories, sources, query, candidates, items)

    async def source_ranks(self, query: Query, code: int, context: RequestContext) -> dict[str, int]:
        """Return an item's place by each source."""
        sources = self._holder.bundle(context.bundle_id).model.sources
        return await asyncio.to_thread(source_ranks, sources, query, code)

    def status(self) -> Status:
        """Return what this replica holds."""
        return self._holder.status()


class Ranker:
    """Scores candidates and chooses the slate."""

    def __init__(self) -> None:
        self._holder = BundleHolder(RANKER, _load_ranker)

    async def reconfigure(self, user_config: Mapping[str, str]) -> None:
        """Take the bundle that ``user_config`` names."""
        await self._holder.take(Path(user_config[BUNDLE_KEY]))

    async def answer(self, requests: Requests, to_rank: Sequence[ToRank], contexts: Contexts) -> list[Slate]:
        """Return each request's slate by the bundle that its context pins."""
        bundle = self._holder.bundle(_pinned(contexts))
        return await asyncio.to_thread(_rank_and_select, bundle, requests, to_rank, contexts)

    async def weigh(self, request: RecommendRequest, to_rank: ToRank, context: RequestContext) -> list[Weighed]:
        """Say what features, policy and rules made of each item of the slate."""
        model = self._holder.bundle(context.bundle_id).model
        return await asyncio.to_thread(lambda: weigh(model, _ranked(model, to_rank), request.k, context.seed))

    async def judge(self, request: RecommendRequest, to_rank: ToRank, context: RequestContext, item_id: str) -> WhyNot:
        """Say what ranker, policy and rules made of a candidate."""
        model = self._holder.bundle(context.bundle_id).model
        return await asyncio.to_thread(lambda: judge(model, _ranked(model, to_rank), request.k, context.seed, item_id))

    def status(self) -> Status:
        """Return what this replica holds."""
        return self._holder.status()


class Ingress:
    """Answers HTTP: pins the context, reads the viewer's history, asks the others, records what was shown.

    Parameters
    ----------
    retriever, ranker
        Handles of the other two deployments.
    config
        A :class:`~foveate_serve.config.ServeConfig` as plain values.
    state
        The file of viewers' events and impressions, on this node.
    """

    def __init__(
        self, retriever: DeploymentHandle[Any], ranker: DeploymentHandle[Any], config: Mapping[str, Any], state: str
    ) -> None:
        self.config = from_dict(ServeConfig, config)
        self._retriever = retriever
        self._ranker = ranker
        self._state = SqliteState(Path(state))
        self._impressions = SqliteImpressions(Path(state))
        self._writer = ImpressionWriter(self._impressions)
        self._holder = BundleHolder(INGRESS, self._load)

    def _load(self, path: Path) -> Bundle:
        bundle = Bundle.load(path, parts=set())
        rehearse_query(bundle)
        self._impressions.remember_bundle(bundle.bundle_id, path)
        return bundle

    async def reconfigure(self, user_config: Mapping[str, str]) -> None:
        """Take the bundle that ``user_config`` names."""
        await self._holder.take(Path(user_config[BUNDLE_KEY]))

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the HTTP interface; Serve calls this once a replica."""
        return build_api(self, self._writer.running)

    async def recommend(self, request: RecommendRequest) -> tuple[Slate, RequestContext, Bundle]:
        """Answer one request by the current bundle, or by the one before where a replica has not got it yet.

        Raises
        ------
        BundleNotHeldError
            The replicas hold no bundle in common.
        TimeoutError
            The deadline has passed.
        """
        return await self._by_held(request, lambda context, stages, _: recommend(request, context, stages))

    async def explain(self, request: RecommendRequest) -> tuple[tuple[Slate, SlateExplanation], RequestContext, Bundle]:
        """Answer one request, and say why each item stands in the slate; raises as :meth:`recommend` does."""
        return await self._by_held(
            request, lambda context, stages, model: explain(request, context, stages, model.catalog)
        )

    async def why_not(self, request: RecommendRequest, item_id: str) -> tuple[WhyNot, RequestContext, Bundle]:
        """Say where an item falls on its way to a viewer's slate; raises as :meth:`recommend` does."""
        return await self._by_held(
            request, lambda context, stages, model: why_not(request, context, stages, model, item_id)
        )

    async def _by_held(
        self, request: RecommendRequest, ask: Callable[[RequestContext, RemoteStages, Model], Awaitable[T]]
    ) -> tuple[T, RequestContext, Bundle]:
        """Ask by the current bundle, or by the one before where a replica has not got it yet."""
        for bundle in self._holder.held:
            context = make_context(request, bundle.bundle_id, clock=utc_micros, budget=self.config.deadline_ms * 1000)
            stages = RemoteStages(bundle.model, self._state, self._retriever, self._ranker, utc_micros)
            try:
                return await ask(context, stages, bundle.model), context, bundle
            except BundleNotHeldError as error:
                logger.warning("%s: trying the bundle before it", error)
        raise BundleNotHeldError("no bundle is held by every replica yet: try again")

    def record(self, request: RecommendRequest, context: RequestContext, slate: Slate) -> None:
        """Keep what was shown, after the reply."""
        self._writer.add(ServedRequest(request, context, slate))

    async def append(self, events: Sequence[ViewerEvent]) -> int:
        """Add to viewers' histories; returns how many events were new."""
        return await asyncio.to_thread(self._state.append, events)

    def current(self) -> Bundle | None:
        """Return the bundle in use, None before there is one."""
        return self._holder.held[0] if self._holder.held else None

    async def status(self) -> list[Status]:
        """Return what every replica holds, this one first; a replica that does not answer counts as a problem."""
        others = await asyncio.gather(*(_ask(name, handle) for name, handle in self._others()))
        return [self._holder.status(), *(status for group in others for status in group)]

    def _others(self) -> list[tuple[str, DeploymentHandle[Any]]]:
        return [(RETRIEVER, self._retriever), (RANKER, self._ranker)]


def _load_sources(path: Path) -> Bundle:
    bundle = Bundle.load(path, parts={Part.SOURCES})
    rehearse_retrieval(bundle)
    return bundle


def _load_ranker(path: Path) -> Bundle:
    bundle = Bundle.load(path, parts={Part.RANKER})
    rehearse_ranking(bundle)
    return bundle


async def _ask(name: str, handle: DeploymentHandle[Any]) -> list[Status]:
    try:
        answers = await handle.broadcast("status").results_async(timeout_s=_STATUS_TIMEOUT_S, return_exceptions=True)
    except Exception as error:
        answers = [error]
    return [a if isinstance(a, Status) else Status(name, None, None, f"does not answer: {a}") for a in answers]


def _pinned(contexts: Contexts) -> str:
    """Return the one bundle of a batch: an ingress asks by one bundle at a time."""
    [bundle_id] = {context.bundle_id for context in contexts}
    return bundle_id


def _rank_and_select(bundle: Bundle, requests: Requests, to_rank: Sequence[ToRank], contexts: Contexts) -> list[Slate]:
    ranked = bundle.model.rank([one.query for one in to_rank], [one.candidates for one in to_rank])
    return select(bundle.model, requests, ranked, contexts)


def _ranked(model: Model, to_rank: ToRank) -> Ranked:
    [ranked] = model.rank([to_rank.query], [to_rank.candidates])
    return ranked


def build(args: dict[str, Any]) -> serve.Application:
    """Build the graph: what Serve's config names as ``import_path``.

    Parameters
    ----------
    args
        ``config``, a :class:`~foveate_serve.config.ServeConfig` as plain values, and ``state``, a file.
    """
    retriever = serve.deployment(name=RETRIEVER)(Retriever).bind()
    ranker = serve.deployment(name=RANKER)(Ranker).bind()
    ingress = serve.deployment(name=INGRESS)(serve.ingress()(Ingress))
    return ingress.bind(retriever, ranker, args["config"], args["state"])


def deployment_settings(config: ServeConfig, bundle: Path) -> list[dict[str, Any]]:
    """Return the deployments' part of Serve's config; a change of the bundle or of replicas is applied in place."""
    sizes = {INGRESS: config.ingress, RETRIEVER: config.retriever, RANKER: config.ranker}
    return [_settings(name, size, bundle) for name, size in sizes.items()]


def _settings(name: str, size: DeploymentConfig, bundle: Path) -> dict[str, Any]:
    return {
        "name": name,
        "num_replicas": size.replicas,
        "max_ongoing_requests": size.max_ongoing_requests,
        # Ray sets the replica's OMP_NUM_THREADS, which torch and LightGBM heed, to its whole CPUs, at least one.
        "ray_actor_options": {"num_cpus": size.cpus},
        "user_config": {BUNDLE_KEY: str(bundle)},
        "graceful_shutdown_wait_loop_s": 0.2,
        "graceful_shutdown_timeout_s": 10.0,
    }
