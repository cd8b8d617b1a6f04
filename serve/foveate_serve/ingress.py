"""The ingress: pins the context, reads the viewer's history, asks the other stages, records what was shown."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle

from foveate.bundle import Bundle
from foveate.core.config import from_dict
from foveate.core.errors import StateError
from foveate.core.messages import RecommendRequest, RequestContext, Slate
from foveate.recommend.explain import SlateExplanation, WhyNot, explain, why_not
from foveate.recommend.pipeline import make_context, recommend
from foveate.served_log.erase import Certificate, erase_viewer
from foveate.state.base import ServedRequest, ViewerEvent, utc_micros
from foveate.state.connect import open_impressions, open_items, open_viewers
from foveate.state.items import CatalogItem
from foveate_serve.bundles.catalogue import slots_of
from foveate_serve.bundles.loading import load_all, load_catalogue
from foveate_serve.bundles.slots import BundleNotHeldError, BundleSlots, Status
from foveate_serve.config import ServeConfig
from foveate_serve.http.admission import ConcurrencyLimit
from foveate_serve.http.api import add_shadow, build_api
from foveate_serve.names import HYDRATOR, INGRESS, RANKER, RETRIEVER, shard_name
from foveate_serve.replica import load_bundle, start_replica
from foveate_serve.stages.guarded import PATIENCE_S, Guarded
from foveate_serve.stages.local import Hydrator, Ranker, Retriever
from foveate_serve.stages.remote import RankerStage, Remote, RemoteRanker, RemoteRetriever, RetrieverStage
from foveate_serve.stages.served import ServedStages
from foveate_serve.stages.shadow import Shadowing
from foveate_serve.stages.writer import EventWriter, ImpressionWriter
from foveate_serve.telemetry.spans import TraceHeader

logger = logging.getLogger("ray.serve")

_RETRY_S: Final = 0.05
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
        self.concurrency = ConcurrencyLimit(self.config.ingress.max_ongoing_requests, self.config.max_ongoing_events)
        self._place = state
        # A replica never makes the store: where it is gone, a new one would take events that nobody finds again.
        self._state = open_viewers(state, create=False, lazy=True)
        self._events = EventWriter(self._state, self.config.max_ongoing_events, self.config.events_deadline_ms / 1000)
        self._impressions = open_impressions(state, create=False, lazy=True)
        self._writer = ImpressionWriter(self._impressions)
        self._sharded = bool(shards)
        self._alone = retriever is None and ranker is None
        self._telemetry = start_replica(INGRESS)
        self._items = open_items(state, create=False, lazy=True)
        self._slots, self._feed = slots_of(INGRESS, self._load, self._telemetry.swapped, self._items)
        deadline_s = self.config.deadline_ms / 1000
        self._hydrator = Guarded(
            HYDRATOR,
            Hydrator(self._state, self.config.largest_batch, self._telemetry),
            # It has less of the deadline than the others, and its share of it must be enough to count.
            min(PATIENCE_S, self.config.hydration_share * deadline_s / 2),
        )
        # What computes takes turns in one thread: side by side they would only wait for each other's lock, in small
        # batches.
        own = (
            self._slots,
            self.config.largest_batch,
            self._telemetry,
            ThreadPoolExecutor(1, thread_name_prefix="stages"),
        )
        patience_s = min(PATIENCE_S, deadline_s / 4)
        remote_retriever = None if retriever is None else RemoteRetriever(RETRIEVER, retriever)
        remote_ranker = None if ranker is None else RemoteRanker(RANKER, ranker)
        self._retriever: Guarded[RetrieverStage] = Guarded(RETRIEVER, remote_retriever or Retriever(*own), patience_s)
        self._ranker: Guarded[RankerStage] = Guarded(RANKER, remote_ranker or Ranker(*own), patience_s)
        self._shadow = Shadowing(shadow, self.config.shadow, self._telemetry) if shadow is not None else None
        named = [Remote(shard_name(number), handle) for number, handle in enumerate(shards)]
        self._remotes = [one for one in (remote_retriever, remote_ranker, *named) if one is not None]

    def _load(self, path: Path) -> Bundle:
        bundle = load_all(path) if self._alone else load_catalogue(path, mapped=self._sharded)
        try:
            self._impressions.remember_bundle(bundle.bundle_id, path)
        except StateError as error:
            # A replica that starts while the store is away serves all the same; a replay is then told the folder.
            logger.warning("where bundle %s lies could not be kept: %s", bundle.bundle_id, error)
        return bundle

    async def reconfigure(self, user_config: Mapping[str, str]) -> None:
        """Take the bundle that ``user_config`` names."""
        await load_bundle(self._slots, user_config)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the HTTP interface; Serve calls this once a replica."""
        api = build_api(self, self.running)
        if self._shadow:
            add_shadow(api, self._shadow.report)
        if self._telemetry.traces:
            api.add_middleware(TraceHeader)
        return api

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run what runs beside the interface: the catalogue's changes are followed, and what was shown is written."""
        self._feed.follow(self._slots)
        try:
            async with self._writer.running():
                yield
        finally:
            self._feed.stop()

    async def recommend(self, request: RecommendRequest) -> tuple[Slate, RequestContext, Bundle]:
        """Answer one request by the current bundle, or by the one before where a replica has not got it yet.

        Raises
        ------
        BundleNotHeldError
            The replicas hold no bundle in common.
        TimeoutError
            The deadline has passed.
        """
        began = time.perf_counter()
        async for bundle, context, seconds in self._bundles_to_try(request):
            with self._asking(bundle, context, seconds) as (traced, stages):
                slate = await recommend(request, traced, stages)
                self._telemetry.degraded(slate.degraded)
                if self._shadow:
                    self._shadow.offer(ServedRequest(request, context, slate), time.perf_counter() - began)
                return slate, context, bundle
        raise _none_held()

    async def explain(self, request: RecommendRequest) -> tuple[tuple[Slate, SlateExplanation], RequestContext, Bundle]:
        """Answer one request, and say why each item stands in the slate; raises as :meth:`recommend` does."""
        async for bundle, context, seconds in self._bundles_to_try(request):
            with self._asking(bundle, context, seconds) as (traced, stages):
                return await explain(request, traced, stages, bundle.model.catalog), context, bundle
        raise _none_held()

    async def why_not(self, request: RecommendRequest, item_id: str) -> tuple[WhyNot, RequestContext, Bundle]:
        """Say where an item falls on its way to a viewer's slate; raises as :meth:`recommend` does."""
        async for bundle, context, seconds in self._bundles_to_try(request):
            with self._asking(bundle, context, seconds) as (traced, stages):
                return await why_not(request, traced, stages, bundle.model, item_id), context, bundle
        raise _none_held()

    def _bundles_to_try(self, request: RecommendRequest) -> _BundlesToTry:
        allowed = min(self.config.deadline_ms, request.deadline_ms or self.config.deadline_ms)
        return _BundlesToTry(self._slots, request, monotonic() + allowed / 1000, self.config.exploration.text)

    @contextmanager
    def _asking(
        self, bundle: Bundle, context: RequestContext, seconds: float
    ) -> Iterator[tuple[RequestContext, ServedStages]]:
        """Cover the answering of a request by one bundle; where a replica does not hold it, the next one may."""
        share = self.config.hydration_share
        stages = ServedStages(
            bundle.model, self._hydrator, self._retriever, self._ranker, seconds, hydration_share=share
        )
        try:
            with self._telemetry.request(context) as traced:
                yield traced, stages
        except BundleNotHeldError as error:
            logger.warning("%s: trying the bundle before it", error)

    def record(self, request: RecommendRequest, context: RequestContext, slate: Slate) -> None:
        """Keep what was shown, after the reply."""
        self._writer.add(ServedRequest(request, context, slate))

    async def append(self, events: Sequence[ViewerEvent]) -> int:
        """Add to viewers' histories; returns how many events were new. Raises as :meth:`EventWriter.append` does."""
        return await self._events.append(events)

    async def put_items(self, items: Sequence[CatalogItem]) -> int:
        """Add or replace items; returns the version of the catalogue that holds them, once it is kept."""
        return await asyncio.to_thread(self._items.put, items)

    async def withdraw_items(self, item_ids: Sequence[str]) -> int:
        """Withdraw items; returns the version of the catalogue without them, once it is kept."""
        return await asyncio.to_thread(self._items.withdraw, item_ids)

    async def erase(self, user_id: str) -> Certificate:
        """Erase a viewer from the store and its exports, with the time that it takes.

        What of theirs still waits to be written here or in another replica, the store does not take any more.
        """
        return await asyncio.to_thread(erase_viewer, self._place, user_id)

    def current(self) -> Bundle | None:
        """Return the bundle in use, None before there is one."""
        return self._slots.held[0] if self._slots.held else None

    async def status(self) -> list[Status]:
        """Return what every replica holds, this one first; a replica that does not answer counts as a problem."""
        own, *others = await asyncio.gather(self._status(), *(remote.status() for remote in self._remotes))
        return [*own, *(status for group in others for status in group)]

    async def _status(self) -> list[Status]:
        """Return what this replica holds; a store of viewers that cannot be used is a problem, and slates go on."""
        status = self._slots.status()
        try:
            await asyncio.to_thread(self._state.check)
        except StateError as error:
            status = replace(status, problem="; ".join(filter(None, (status.problem, str(error)))))
        return [status]


class _BundlesToTry:
    """The bundles by which a request may be answered, one after the other: the current one, and the one before.

    A replica that starts while bundles are swapped holds the new one alone, and others still the old one: who meets
    both asks again, for there are other replicas, and soon all hold the new one.

    Parameters
    ----------
    give_up
        From when on nothing is tried any more, in seconds of a clock that nobody sets.
    exploration
        What is explored, for the requests' contexts.
    """

    def __init__(self, slots: BundleSlots, request: RecommendRequest, give_up: float, exploration: str) -> None:
        self._slots = slots
        self._request = request
        self._give_up = give_up
        self._exploration = exploration
        self._left: deque[Bundle] = deque(slots.held)

    def __aiter__(self) -> _BundlesToTry:
        return self

    async def __anext__(self) -> tuple[Bundle, RequestContext, float]:
        """Return the next bundle, the request's context by it and the seconds left; ends with them, or without one."""
        if not self._left and self._slots.held:
            await asyncio.sleep(_RETRY_S)
            self._left.extend(self._slots.held)
        seconds = self._give_up - monotonic()
        if seconds <= 0 or not self._left:
            raise StopAsyncIteration
        bundle, budget = self._left.popleft(), round(seconds * 1e6)
        context = make_context(
            self._request, bundle.bundle_id, clock=utc_micros, budget=budget, exploration=self._exploration
        )
        return bundle, context, seconds


def _none_held() -> BundleNotHeldError:
    return BundleNotHeldError("no bundle is held by every replica yet: try again")
