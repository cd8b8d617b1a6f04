"""A typed client of a Foveate server, for a process that has neither Ray nor a model.

::

    from foveate_serve.client import Client, RecommendIn

    with Client("http://localhost:8000") as server:
        for page in server.pages(RecommendIn(user_id="u17", k=20)):
            ...

:class:`AsyncClient` is the same for asyncio. What goes wrong is an :class:`ApiError` with the server's problem details.
"""

from foveate_serve.client.clients import AsyncClient, Client
from foveate_serve.client.errors import (
    AccessError,
    ApiError,
    BusyError,
    InvalidRequestError,
    MissingError,
    UnreachableError,
)
from foveate_serve.http.schemas.ask import FiltersIn, LikesIn, PastEventIn, RecommendIn, WhyNotIn
from foveate_serve.http.schemas.base import FieldFault, Problem
from foveate_serve.http.schemas.events import EventIn, EventsIn, EventsOut
from foveate_serve.http.schemas.explain import ExplanationOut, WhyNotOut
from foveate_serve.http.schemas.health import ReadyOut
from foveate_serve.http.schemas.items import ItemFactsIn, ItemIn, ItemsIn, ItemsOut
from foveate_serve.http.schemas.slates import ItemOut, SlateItemOut, SlateOut, SurfaceOut, SurfacesOut
from foveate_serve.http.schemas.viewers import BundleTraceOut, ErasureOut, ExportErasureOut, StoreErasureOut

__all__ = [
    "AccessError",
    "ApiError",
    "AsyncClient",
    "BundleTraceOut",
    "BusyError",
    "Client",
    "ErasureOut",
    "EventIn",
    "EventsIn",
    "EventsOut",
    "ExplanationOut",
    "ExportErasureOut",
    "FieldFault",
    "FiltersIn",
    "InvalidRequestError",
    "ItemFactsIn",
    "ItemIn",
    "ItemOut",
    "ItemsIn",
    "ItemsOut",
    "LikesIn",
    "MissingError",
    "PastEventIn",
    "Problem",
    "ReadyOut",
    "RecommendIn",
    "SlateItemOut",
    "SlateOut",
    "StoreErasureOut",
    "SurfaceOut",
    "SurfacesOut",
    "UnreachableError",
    "WhyNotIn",
    "WhyNotOut",
]
