"""The two clients: one that waits for each answer, and one for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

import httpx

from foveate_serve.client import calls
from foveate_serve.client.calls import Call, T
from foveate_serve.client.errors import unreachable
from foveate_serve.http.schemas.ask import RecommendIn, WhyNotIn
from foveate_serve.http.schemas.events import EventsIn, EventsOut
from foveate_serve.http.schemas.explain import WhyNotOut
from foveate_serve.http.schemas.health import ReadyOut
from foveate_serve.http.schemas.items import ItemsIn, ItemsOut
from foveate_serve.http.schemas.slates import ItemOut, SlateOut, SurfacesOut
from foveate_serve.http.schemas.viewers import ErasureOut

_TIMEOUT_S: Final = 10.0


class Client:
    """Asks a server.

    Parameters
    ----------
    url
        Of the server, such as ``http://localhost:8000``.
    key
        An API key, where the server asks for one.
    timeout_s
        Seconds after which a request is given up.

    Notes
    -----
    Every method raises :class:`~foveate_serve.client.errors.ApiError` where the server does not answer, or answers with
    a problem.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = _TIMEOUT_S) -> None:
        self._http = httpx.Client(base_url=url, headers=_headers(key), timeout=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def recommend(self, ask: RecommendIn) -> SlateOut:
        """Return a slate."""
        return self._send(calls.recommend(ask))

    def pages(self, ask: RecommendIn) -> Iterator[SlateOut]:
        """Yield a slate page after page, until nothing is left; no page repeats an item."""
        page = self.recommend(ask)
        while page.items:
            yield page
            if page.cursor is None:
                return
            page = self.recommend(ask.model_copy(update={"cursor": page.cursor}))

    def why_not(self, ask: WhyNotIn) -> WhyNotOut:
        """Return why an item is not in a slate."""
        return self._send(calls.why_not(ask))

    def tell(self, events: EventsIn) -> EventsOut:
        """Tell what viewers did; return how much of it was new."""
        return self._send(calls.tell(events))

    def erase(self, user_id: str) -> ErasureOut:
        """Erase a viewer; return what was done, what is left, and which bundles had learned from them."""
        return self._send(calls.erase(user_id))

    def item(self, item_id: str) -> ItemOut:
        """Return an item of the catalogue."""
        return self._send(calls.item(item_id))

    def put_items(self, items: ItemsIn) -> ItemsOut:
        """Add or replace items of the catalogue; return its version with them."""
        return self._send(calls.put_items(items))

    def withdraw_item(self, item_id: str) -> ItemsOut:
        """Withdraw an item of the catalogue; return its version without it."""
        return self._send(calls.withdraw_item(item_id))

    def surfaces(self) -> SurfacesOut:
        """Return where slates can be shown."""
        return self._send(calls.surfaces())

    def ready(self) -> ReadyOut:
        """Return whether requests can be answered, and by which bundle."""
        return self._send(calls.ready())

    def _send(self, call: Call[T]) -> T:
        try:
            response = self._http.send(call.request(self._http))
        except httpx.TransportError as error:
            raise unreachable(error) from error
        return call.read(response)


class AsyncClient:
    """Asks a server, for asyncio; parameters and errors as :class:`Client`."""

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = _TIMEOUT_S) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers=_headers(key), timeout=timeout_s)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def recommend(self, ask: RecommendIn) -> SlateOut:
        """Return a slate."""
        return await self._send(calls.recommend(ask))

    async def pages(self, ask: RecommendIn) -> AsyncIterator[SlateOut]:
        """Yield a slate page after page, until nothing is left; no page repeats an item."""
        page = await self.recommend(ask)
        while page.items:
            yield page
            if page.cursor is None:
                return
            page = await self.recommend(ask.model_copy(update={"cursor": page.cursor}))

    async def why_not(self, ask: WhyNotIn) -> WhyNotOut:
        """Return why an item is not in a slate."""
        return await self._send(calls.why_not(ask))

    async def tell(self, events: EventsIn) -> EventsOut:
        """Tell what viewers did; return how much of it was new."""
        return await self._send(calls.tell(events))

    async def erase(self, user_id: str) -> ErasureOut:
        """Erase a viewer; return what was done, what is left, and which bundles had learned from them."""
        return await self._send(calls.erase(user_id))

    async def item(self, item_id: str) -> ItemOut:
        """Return an item of the catalogue."""
        return await self._send(calls.item(item_id))

    async def put_items(self, items: ItemsIn) -> ItemsOut:
        """Add or replace items of the catalogue; return its version with them."""
        return await self._send(calls.put_items(items))

    async def withdraw_item(self, item_id: str) -> ItemsOut:
        """Withdraw an item of the catalogue; return its version without it."""
        return await self._send(calls.withdraw_item(item_id))

    async def surfaces(self) -> SurfacesOut:
        """Return where slates can be shown."""
        return await self._send(calls.surfaces())

    async def ready(self) -> ReadyOut:
        """Return whether requests can be answered, and by which bundle."""
        return await self._send(calls.ready())

    async def _send(self, call: Call[T]) -> T:
        try:
            response = await self._http.send(call.request(self._http))
        except httpx.TransportError as error:
            raise unreachable(error) from error
        return call.read(response)


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}
