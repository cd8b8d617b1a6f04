"""The HTTP interface: parses, asks the ingress, answers. What goes wrong is answered as JSON, never as a traceback."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Protocol, TypeAlias
from uuid import uuid4

from fastapi import FastAPI, Request, Response
from fastapi import Path as PathPart
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from foveate import __version__
from foveate.bundle import Bundle
from foveate.core.errors import NotFoundError
from foveate.core.messages import RecommendRequest, RequestContext, Slate
from foveate.data.vocabulary import UNKNOWN
from foveate.recommend.explain import SlateExplanation, WhyNot
from foveate.recommend.surfaces.base import surface_of, why_empty
from foveate.served_log.erase import Certificate
from foveate.state.base import ViewerEvent, utc_micros
from foveate.state.event_checks import clamped
from foveate.state.items import CatalogItem
from foveate_serve.bundles.slots import Status
from foveate_serve.config import ServeConfig
from foveate_serve.http.admission import Admission, BodyReader, ConcurrencyLimit, OnlyThisMachine, is_loopback
from foveate_serve.http.answers import erasure_out, item_out, ready_out, slate_out, surfaces_out, why_not_out
from foveate_serve.http.authentication import (
    Authentication,
    check_ask,
    check_inspects,
    check_viewers,
    key_of,
    may_inspect,
)
from foveate_serve.http.faults import NotReadyError, add_faults
from foveate_serve.http.keys import KeyFile
from foveate_serve.http.ndjson import NdjsonReader, described
from foveate_serve.http.openapi import add_problem_pages, complete
from foveate_serve.http.paging import next_cursor, resume
from foveate_serve.http.problems import RETRY_AFTER, documented
from foveate_serve.http.schemas.ask import RecommendIn, WhyNotIn
from foveate_serve.http.schemas.events import EventsIn, EventsOut
from foveate_serve.http.schemas.explain import WhyNotOut
from foveate_serve.http.schemas.health import LiveOut, ReadyOut
from foveate_serve.http.schemas.items import ItemFactsIn, ItemsIn, ItemsOut
from foveate_serve.http.schemas.shadow import ShadowOut
from foveate_serve.http.schemas.slates import ItemOut, SlateOut, SurfacesOut
from foveate_serve.http.schemas.viewers import ErasureOut
from foveate_serve.names import ATTEMPT

logger = logging.getLogger("ray.serve")

_CORS: Final[dict[str, Any]] = {
    "allow_methods": ("GET", "POST", "PUT", "DELETE"),
    "allow_headers": ("authorization", "content-type"),
    "expose_headers": (RETRY_AFTER,),
    "max_age": 600,
}

_ItemId: TypeAlias = Annotated[str, PathPart(min_length=1, max_length=256)]

_ATTEMPT_ID: Final = re.compile(r"[0-9a-f-]{32,36}")

_BODY = ("malformed", "body_timeout", "body_too_large", "invalid_request")
_BUSY = ("unauthorized", "forbidden", "rate_limited", "internal", "not_ready", "overloaded")
_STAGES = (*_BUSY, "state_unavailable", "replica_lost", "deadline_exceeded")


class Gateway(Protocol):
    """What the interface needs of the ingress."""

    config: ServeConfig
    concurrency: ConcurrencyLimit

    async def recommend(self, request: RecommendRequest) -> tuple[Slate, RequestContext, Bundle]:
        """Answer one request; also the pinned context and the bundle that answered."""
        ...

    async def explain(self, request: RecommendRequest) -> tuple[tuple[Slate, SlateExplanation], RequestContext, Bundle]:
        """Answer one request as :meth:`recommend` does, and say why each item stands in the slate."""
        ...

    async def why_not(self, request: RecommendRequest, item_id: str) -> tuple[WhyNot, RequestContext, Bundle]:
        """Say where an item falls on its way to a viewer's slate."""
        ...

    def record(self, request: RecommendRequest, context: RequestContext, slate: Slate) -> None:
        """Keep what was shown, after the reply."""
        ...

    async def append(self, events: Sequence[ViewerEvent]) -> int:
        """Add to viewers' histories; returns how many events were new."""
        ...

    async def put_items(self, items: Sequence[CatalogItem]) -> int:
        """Add or replace items of the catalogue; returns its version with them."""
        ...

    async def withdraw_items(self, item_ids: Sequence[str]) -> int:
        """Withdraw items of the catalogue; returns its version without them."""
        ...

    async def erase(self, user_id: str) -> Certificate:
        """Erase a viewer from the store and its exports."""
        ...

    def current(self) -> Bundle | None:
        """Return the bundle in use, None before there is one."""
        ...

    async def status(self) -> list[Status]:
        """Return what every replica holds."""
        ...


def build_api(gateway: Gateway, running: Callable[[], AbstractAsyncContextManager[None]]) -> FastAPI:
    """Build the interface.

    Parameters
    ----------
    gateway
        Who answers.
    running
        What runs beside the interface as long as it is up, and is ended cleanly with it.
    """

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        del api
        async with running():
            yield

    # The pages' scripts come from here and not from somewhere else: "/docs" opens them without a key, as the pages are.
    api = FastAPIOffline(
        static_url="/docs-assets",
        title="Foveate",
        version=__version__,
        description="Video recommendation by attention: a slate for a viewer, and why each item stands in it.",
        lifespan=lifespan,
    )
    # The one that is added last is asked first.
    api.add_middleware(NdjsonReader)
    api.add_middleware(Admission, concurrency=gateway.concurrency)
    api.add_middleware(BodyReader, limit=gateway.config.max_body_bytes)
    access = gateway.config.access
    if access.keys is not None:
        api.add_middleware(Authentication, path=access.keys)
    if is_loopback(gateway.config.host):
        api.add_middleware(OnlyThisMachine)
    if access.origins:
        api.add_middleware(CORSMiddleware, allow_origins=access.origins, **_CORS)
    add_faults(api)
    _add_slates(api, gateway, _signing(access.keys))
    _add_catalogue(api, gateway)
    _add_viewers(api, gateway)
    _add_health(api, gateway)
    add_problem_pages(api)
    complete(api, keyed=access.keys is not None)
    return api


def _signing(keys: Path | None) -> Callable[[], bytes]:
    """Return what tells the secret that cursors are signed with; without keys there is none."""
    if keys is None:
        return bytes
    file = KeyFile(keys)
    return lambda: file.current().secret()


def _add_slates(api: FastAPI, gateway: Gateway, signing: Callable[[], bytes]) -> None:
    responses = documented(*_BODY, *_STAGES, "not_found", "invalid_cursor")

    @api.post("/v1/recommend", summary="A slate on one surface", tags=["slates"], responses=responses)
    async def recommend(body: RecommendIn, http: Request) -> SlateOut:
        began = time.perf_counter()
        key = key_of(http)
        check_ask(key, body)
        asked, secret = body.message(), signing()
        request = resume(asked, body.cursor, secret)
        if body.explain:
            check_inspects(key, "'explain'")
        usual = surface_of(request.surface).explained and may_inspect(key)
        if usual if body.explain is None else body.explain:
            (slate, explained), context, bundle = await gateway.explain(request)
        else:
            slate, context, bundle = await gateway.recommend(request)
            explained = None
        gateway.record(request, context, slate)
        catalog = bundle.model.catalog
        shown = catalog.shown([item.item_id for item in slate.items])
        cursor = next_cursor(asked, request, context, slate, secret=secret)
        took_ms = (time.perf_counter() - began) * 1e3
        note = None if slate.items else why_empty(bundle.model, request, context)
        return slate_out(request, context, slate, shown, explained=explained, note=note, cursor=cursor, took_ms=took_ms)

    @api.post("/v1/why-not", summary="Why an item is not in a slate", tags=["slates"], responses=responses)
    async def why_not(body: WhyNotIn, http: Request) -> WhyNotOut:
        check_ask(key_of(http), body)
        answer, context, bundle = await gateway.why_not(body.message(), body.item_id)
        return why_not_out(answer, context.request_id, body.user_id, bundle.bundle_id)

    @api.get("/v1/surfaces", summary="Where slates can be shown", tags=["slates"], responses=documented(*_BUSY))
    async def surfaces() -> SurfacesOut:
        return surfaces_out()


def _add_catalogue(api: FastAPI, gateway: Gateway) -> None:
    @api.get(
        "/v1/items/{item_id:path}",
        summary="One item of the catalogue",
        tags=["catalogue"],
        responses=documented("not_found", "invalid_request", *_BUSY),
    )
    async def item(item_id: str) -> ItemOut:
        bundle = gateway.current()
        if bundle is None:
            raise NotReadyError("no bundle is loaded yet: try again")
        catalog = bundle.model.catalog
        code = catalog.items.code(item_id)
        if code == UNKNOWN:
            raise NotFoundError(f"the catalogue of bundle '{bundle.bundle_id}' has no item '{item_id[:256]}'")
        withdrawn = catalog.withdrawn is not None and bool(catalog.withdrawn[code])
        return item_out(catalog.frame.row(code, named=True), withdrawn=withdrawn)

    changing = documented(*_BODY, *_BUSY, "state_unavailable")

    @api.put("/v1/items/{item_id:path}", summary="Add or replace an item", tags=["catalogue"], responses=changing)
    async def put(item_id: _ItemId, body: ItemFactsIn) -> ItemsOut:
        """Add or replace an item: kept when this is answered, and in the answers of every replica within 2 seconds.

        An item that no history holds is found by what is known of it. The bundle's own features of an item that it
        holds already stay as they were trained.
        """
        return ItemsOut(items=1, version=await gateway.put_items([body.message(item_id)]))

    @api.post(
        "/v1/items",
        summary="Add or replace many items",
        tags=["catalogue"],
        responses=changing,
        openapi_extra=described(),
    )
    async def put_many(body: ItemsIn) -> ItemsOut:
        """Add or replace items, all or none, as one item is put."""
        version = await gateway.put_items([item.message(item.item_id) for item in body.items])
        return ItemsOut(items=len(body.items), version=version)

    @api.delete("/v1/items/{item_id:path}", summary="Withdraw an item", tags=["catalogue"], responses=changing)
    async def withdraw(item_id: _ItemId) -> ItemsOut:
        """Withdraw an item: within 2 seconds it is in no answer any more, until it is put again."""
        return ItemsOut(items=1, version=await gateway.withdraw_items([item_id]))

    @api.post(
        "/v1/events",
        summary="Tell what viewers did",
        tags=["viewers"],
        responses=documented(*_BODY, *_BUSY, "state_unavailable"),
        openapi_extra=described(),
    )
    async def events(body: EventsIn, request: Request) -> EventsOut:
        check_viewers(key_of(request), (event.user_id for event in body.events))
        now, prefix = utc_micros(), _event_prefix(request)
        named = [event.message(now, f"{prefix}-{number}") for number, event in enumerate(body.events)]
        given_events, adjusted = clamped(named, now)
        added = await gateway.append(given_events)
        bundle = gateway.current()
        return EventsOut(
            added=added,
            adjusted=adjusted,
            unknown_items=None if bundle is None else _unknown(bundle, [event.item_id for event in given_events]),
            event_ids=[str(event.event_id) for event in given_events],
        )


def _add_viewers(api: FastAPI, gateway: Gateway) -> None:
    @api.delete(
        "/v1/viewers/{user_id:path}",
        summary="Erase a viewer",
        tags=["viewers"],
        responses=documented("invalid_request", *_BUSY, "state_unavailable"),
    )
    async def erase(user_id: Annotated[str, PathPart(min_length=1, max_length=256)]) -> ErasureOut:
        """Erase what a viewer did and was shown, and the anonymous requests that their events name.

        They go from the store, from the files of viewers beside its bundles, and from every registered export. What is
        not done at once is said, and when it will be; asking again goes on with it.
        """
        return erasure_out(await gateway.erase(user_id))


def _event_prefix(request: Request) -> str:
    """Return what ids of this request's events begin with: the same where the proxy asks a second replica."""
    given = request.headers.get(ATTEMPT, "")
    return given if _ATTEMPT_ID.fullmatch(given) else uuid4().hex


def _unknown(bundle: Bundle, item_ids: Sequence[str]) -> int:
    return int((bundle.model.catalog.items.encode(item_ids) == UNKNOWN).sum())


def _add_health(api: FastAPI, gateway: Gateway) -> None:
    @api.get("/health/live", summary="Whether the process answers", tags=["health"])
    async def live() -> LiveOut:
        return LiveOut()

    @api.get(
        "/health/ready",
        summary="Whether requests can be answered, and by which bundle",
        tags=["health"],
        responses={503: {"model": ReadyOut, "description": "Not every replica is ready"}, **documented("internal")},
    )
    async def ready(response: Response) -> ReadyOut:
        answer = ready_out(await gateway.status())
        response.status_code = 200 if answer.ready else 503
        return answer


def add_shadow(api: FastAPI, report: Callable[[], Awaitable[Mapping[str, object]]]) -> None:
    """Add what ``report`` tells; there is such a page only where there is a shadow."""

    @api.get("/v1/shadow", summary="How a second bundle would have answered", tags=["shadow"])
    async def shadow() -> ShadowOut:
        return ShadowOut.model_validate(await report())
