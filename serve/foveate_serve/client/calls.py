"""Requests to a server as plain values; the two clients differ only in how they send them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import BaseModel

from foveate_serve.client.errors import error_of
from foveate_serve.http.schemas.ask import RecommendIn, WhyNotIn
from foveate_serve.http.schemas.base import Wire
from foveate_serve.http.schemas.events import EventsIn, EventsOut
from foveate_serve.http.schemas.explain import WhyNotOut
from foveate_serve.http.schemas.health import ReadyOut
from foveate_serve.http.schemas.items import ItemsIn, ItemsOut
from foveate_serve.http.schemas.slates import ItemOut, SlateOut, SurfacesOut
from foveate_serve.http.schemas.viewers import ErasureOut

T = TypeVar("T", bound=BaseModel)

_JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and what its answer is read as; ``also`` names a status beside 2xx that is an answer."""

    method: str
    path: str
    answer: type[T]
    body: Wire | None = None
    also: int | None = None

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Return it as it is sent."""
        if self.body is None:
            return http.build_request(self.method, self.path)
        content = self.body.model_dump_json(exclude_none=True)
        return http.build_request(self.method, self.path, content=content, headers=_JSON)

    def read(self, response: httpx.Response) -> T:
        """Return the answer.

        Raises
        ------
        ApiError
            It is a problem.
        """
        if response.is_success or response.status_code == self.also:
            return self.answer.model_validate_json(response.content)
        raise error_of(response)


def recommend(ask: RecommendIn) -> Call[SlateOut]:
    """Ask for a slate."""
    return Call("POST", "/v1/recommend", SlateOut, ask)


def why_not(ask: WhyNotIn) -> Call[WhyNotOut]:
    """Ask why an item is not in a slate."""
    return Call("POST", "/v1/why-not", WhyNotOut, ask)


def tell(events: EventsIn) -> Call[EventsOut]:
    """Tell what viewers did; every event gets an id, so that sending the call again adds nothing twice."""
    named = [one if one.event_id else one.model_copy(update={"event_id": uuid4().hex}) for one in events.events]
    return Call("POST", "/v1/events", EventsOut, EventsIn(events=named))


def erase(user_id: str) -> Call[ErasureOut]:
    """Ask for a viewer to be erased."""
    return Call("DELETE", f"/v1/viewers/{quote(user_id, safe='')}", ErasureOut)


def item(item_id: str) -> Call[ItemOut]:
    """Ask for an item of the catalogue."""
    return Call("GET", f"/v1/items/{quote(item_id, safe='')}", ItemOut)


def put_items(items: ItemsIn) -> Call[ItemsOut]:
    """Ask for items to be added or replaced."""
    return Call("POST", "/v1/items", ItemsOut, items)


def withdraw_item(item_id: str) -> Call[ItemsOut]:
    """Ask for an item to be withdrawn."""
    return Call("DELETE", f"/v1/items/{quote(item_id, safe='')}", ItemsOut)


def surfaces() -> Call[SurfacesOut]:
    """Ask for the surfaces."""
    return Call("GET", "/v1/surfaces", SurfacesOut)


def ready() -> Call[ReadyOut]:
    """Ask whether requests can be answered."""
    return Call("GET", "/health/ready", ReadyOut, also=503)
