"""A client's own trace: what its ``traceparent`` header names goes on here."""

from __future__ import annotations

from opentelemetry.context import attach, detach
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send


class TraceHeader:
    """Middleware under which a request's span is a child of the client's; needed only where traces are on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._format = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on within its client's trace."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = attach(self._format.extract(Headers(scope=scope)))
        try:
            await self._app(scope, receive, send)
        finally:
            detach(token)
