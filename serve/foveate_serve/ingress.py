"""The ingress: pins the context, reads the viewer's history, asks the other stages, records what was shown."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle

from foveate.bundle import Bundle
from foveate.core.config import from_dict
from foveate.core.errors import StateError
from foveate.core.messages import RecommendRequest, RequestContext, Slate
from foveate.recommend.explain import SlateExplanation, WhyNot, explain, why_not
from foveate.recommend.model import Model
from foveate.recommend.pipeline import make_context, recommend
from foveate.state.base import ServedRequest, ViewerEvent, utc_micros
from foveate.state.opening import open_impressions, open_viewers
from foveate_serve.bundles.loading import load_all, load_catalogue
from foveate_serve.bundles.slots import BundleHolder, BundleNotHeldError, Status
from foveate_serve.bundles.swap import turn
from foveate_serve.config import ServeConfig
from foveate_serve.http.admission import Places
from foveate_serve.http.api import build_api
from foveate_serve.http.shadow import add_shadow
from foveate_serve.names import INGRESS, RANKER, RETRIEVER, shard_name
from foveate_serve.stages.event_writer import EventWriter
from foveate_serve.stages.guarded import PATIENCE_S, Guarded
from foveate_serve.stages.hydrator import Hydrator
from foveate_serve.stages.peers import Elsewhere, Here, Peer
from foveate_serve.stages.ranker import Ranker
from foveate_serve.stages.retriever import Retriever
from foveate_serve.stages.served import ServedStages
from foveate_serve.stages.shadowing import Shadowing
from foveate_serve.stages.starting import starting
from foveate_serve.stages.writer import ImpressionWriter
from foveate_serve.telemetry import Sight
from foveate_serve.telemetry.header import TraceHeader

logger = logging.getLogger("ray.serve")

T = TypeVar("T")

_AGAIN_S: Final = 0.05
"""Seconds before replicas that hold no bundle in common are asked again."""


class Ingress:
    """Answers HTTP.

    Parameters
    ----------
    config
        A :class:`~foveate_serve.config.ServeConfig` as plain values.
    state
        Where viewers' events and impressions are kept: a file of this node, or the address of a server.
    retriever, ranker
        Handles of the other two deployments; without them this replica does their work as well.
    shadow
        Handle of the shadow, None where there is none.
    shards
        Handles of the shards, where the retriever has some; the ingress asks them what they hold, and nothing else.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        state: str,
        retriever: DeploymentHandle[Any] | None = None,
        ranker: DeploymentHandle[Any] | None = None,
        shadow: DeploymentHandle[Any] | None = None,
        *,
        shards: Sequence[DeploymentHandle[Any]] = (),
    ) -> None:
        self.config = from_dict(ServeConfig, config)
        self.places = Places(self.config.ingress.max_ongoing_requests, self.config.max_ongoing_events)
        # A replica never makes the store: where it is gone, a new one would take events that nobody finds again.
        self._state = open_viewers(state, create=False, lazy=True)
        self._events = EventWriter(self._state, self.config.max_ongoing_events, self.config.events_deadline_ms / 1000)
        self._impressions = open_impressions(state, create=False, lazy=True)
        self._writer = ImpressionWriter(self._impressions)
        self._alone = retriever is None and ranker is None
        self._sight = starting(INGRESS)
        self._holder = BundleHolder(INGRESS, self._load, self._sight.told)
        self._hydrator = Hydrator(self._state, self.config.largest_batch, self._sight)
        # What computes takes turns in one thread: side by side they would only wait for each other's lock, in small
        # batches.
        thread = ThreadPoolExecutor(1, thread_name_prefix="stages")
        patience_s = min(PATIENCE_S, self.config.deadline_ms / 4000)
        self._retriever = Guarded(
            _peer(RETRIEVER, retriever) or Here(RETRIEVER, self._own(Retriever, thread)), patience_s
        )
        self._ranker = Guarded(_peer(RANKER, ranker) or Here(RANKER, self._own(Ranker, thread)), patience_s)
        self._shadow = Shadowing(shadow, self.config.shadow, self._sight) if shadow is not None else None
        self._shards = [Elsewhere(shard_name(number), handle) for number, handle in enumerate(shards)]

    def _own(self, stage: Callable[[BundleHolder, int, Sight, ThreadPoolExecutor], T], thread: ThreadPoolExecutor) -> T:
        return stage(self._holder, self.config.largest_batch, self._sight, thread)

    def _load(self, path: Path) -> Bundle:
        bundle = load_all(path) if self._alone else load_catalogue(path, mapped=bool(self._shards))
        try:
            self._impressions.remember_bundle(bundle.bundle_id, path)
        except StateError as error:
            # A replica that starts while the store is away serves all the same; a replay is then told the folder.
            logger.warning("where bundle %s lies could not be kept: %s", bundle.bundle_id, error)
        return bundle

    async def reconfigure(self, user_config: Mapping[str, str]) -> None:
        """Take the bundle that ``user_config`` names."""
        await turn(self._holder, user_config)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the HTTP interface; Serve calls this once a replica."""
        api = build_api(self, self.running)
        if self._shadow:
            add_shadow(api, self._shadow.report)
        if self._sight.traces:
            api.add_middleware(TraceHeader)
        return api

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return what runs beside the interface: the writing of what was shown."""
        return self._writer.running()

    async def recommend(self, request: RecommendRequest) -> tuple[Slate, RequestContext, Bundle]:
        """Answer one request by the current bundle, or by the one before where a replica has not got it yet.

        Raises
        ------
        BundleNotHeldError
            The replicas hold no bundle in common.
        TimeoutError
            The deadline has passed.
        """

        async def ask(context: RequestContext, stages: ServedStages, model: Model) -> Slate:
            del model
            slate = await recommend(request, context, stages)
            self._sight.degraded(stages.degraded)
            return replace(slate, degraded=tuple(stages.degraded))

        began = time.perf_counter()
        slate, context, bundle = await self._by_held(request, ask)
        if self._shadow:
            self._shadow.offer(ServedRequest(request, context, slate), time.perf_counter() - began)
        return slate, context, bundle

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
        self, request: RecommendRequest, ask: Callable[[RequestContext, ServedStages, Model], Awaitable[T]]
    ) -> tuple[T, RequestContext, Bundle]:
        """Ask by the current bundle, or by the one before where a replica has not got it yet.

        A replica that starts while bundles are swapped holds the new one alone, and others still the old one: who meets
        both asks again, for there are other replicas, and soon all hold the new one.
        """
        allowed = min(self.config.deadline_ms, request.deadline_ms or self.config.deadline_ms)
        give_up = utc_micros() + allowed * 1000
        while (left := give_up - utc_micros()) > 0:
            for bundle in self._holder.held:
                context = make_context(request, bundle.bundle_id, clock=utc_micros, budget=left)
                stages = ServedStages(bundle.model, self._hydrator, self._retriever, self._ranker, utc_micros)
                try:
                    with self._sight.request(context) as seen:
                        return await ask(seen, stages, bundle.model), context, bundle
                except BundleNotHeldError as error:
                    logger.warning("%s: trying the bundle before it", error)
            if not self._holder.held:
                break
            await asyncio.sleep(_AGAIN_S)
        raise BundleNotHeldError("no bundle is held by every replica yet: try again")

    def record(self, request: RecommendRequest, context: RequestContext, slate: Slate) -> None:
        """Keep what was shown, after the reply."""
        self._writer.add(ServedRequest(request, context, slate))

    async def append(self, events: Sequence[ViewerEvent]) -> int:
        """Add to viewers' histories; returns how many events were new. Raises as :meth:`EventWriter.append` does."""
        return await self._events.append(events)

    def current(self) -> Bundle | None:
        """Return the bundle in use, None before there is one."""
        return self._holder.held[0] if self._holder.held else None

    async def status(self) -> list[Status]:
        """Return what every replica holds, this one first; a replica that does not answer counts as a problem."""
        peers = (self._retriever.peer, self._ranker.peer, *self._shards)
        own, *others = await asyncio.gather(self._status(), *(peer.status() for peer in peers))
        return [*own, *(status for group in others for status in group)]

    async def _status(self) -> list[Status]:
        """Return what this replica holds; a store of viewers that cannot be used is a problem, and slates go on."""
        status = self._holder.status()
        try:
            await asyncio.to_thread(self._state.check)
        except StateError as error:
            status = replace(status, problem="; ".join(filter(None, (status.problem, str(error)))))
        return [status]


def _peer(name: str, handle: DeploymentHandle[Any] | None) -> Peer | None:
    return None if handle is None else Elsewhere(name, handle)
