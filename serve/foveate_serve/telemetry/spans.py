"""OpenTelemetry traces: one span a request and one a stage, carried between replicas in the request's context.

Off unless one of OpenTelemetry's own variables asks for them, and then nothing of it is even imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, Protocol

from opentelemetry.context import attach, detach
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from foveate.core.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

PREFIX: Final = "OTEL_"
_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DISABLED: Final = "OTEL_SDK_DISABLED"
_HEADER: Final = "traceparent"
_SERVICE: Final = "foveate"
_OTLP: Final = "otlp"
_HAS_PASSWORD: Final = re.compile(r"://[^/\s]*@")


class Spans(Protocol):
    """Where spans go."""

    def span(self, name: str, parents: Sequence[str] = (), **about: str | int | float) -> AbstractContextManager[None]:
        """Cover a block with a span.

        Parameters
        ----------
        parents
            What :meth:`current_trace` gave in the processes that asked. Of several, the span of a batch is a child of
            the first and linked to the others. Without any, the span around this one is its parent.
        about
            Attributes.
        """
        ...

    def current_trace(self) -> str:
        """Return the name of the current span for another process, empty where there is none."""
        ...


class NoSpans:
    """Tracing that is off."""

    def __init__(self) -> None:
        self._nothing = nullcontext()

    def span(self, name: str, parents: Sequence[str] = (), **about: str | int | float) -> AbstractContextManager[None]:
        """Do nothing."""
        del name, parents, about
        return self._nothing

    def current_trace(self) -> str:
        """Return nothing."""
        return ""


class OpenTelemetrySpans:
    """Spans of one replica.

    Parameters
    ----------
    provider
        Where OpenTelemetry sends them. It is this replica's own: OpenTelemetry's global one is left alone.
    """

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - only where traces are wanted
            TraceContextTextMapPropagator,
        )

        self._provider = provider
        self._tracer = provider.get_tracer(_SERVICE)
        self._format = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, parents: Sequence[str] = (), **about: str | int | float) -> Iterator[None]:
        """Cover a block with a span; an exception that passes is written into it."""
        from opentelemetry.trace import Link, get_current_span  # noqa: PLC0415 - as above

        known = [self._read(parent) for parent in dict.fromkeys(parents) if parent]
        links = [Link(get_current_span(one).get_span_context()) for one in known[1:]]
        with self._tracer.start_as_current_span(
            name, context=known[0] if known else None, links=links, attributes=dict(about)
        ):
            yield

    def current_trace(self) -> str:
        """Return the current span as a W3C ``traceparent``."""
        carrier: dict[str, str] = {}
        self._format.inject(carrier)
        return carrier.get(_HEADER, "")

    def _read(self, traceparent: str) -> Context:
        return self._format.extract({_HEADER: traceparent})


def spans_of(environment: Mapping[str, str], part: str) -> Spans:
    """Return what OpenTelemetry's variables ask for.

    Parameters
    ----------
    environment
        The process's; ``OTEL_TRACES_EXPORTER`` names an exporter (``otlp``, ``console``), and an OTLP endpoint asks for
        ``otlp``. OpenTelemetry itself reads the others, such as ``OTEL_TRACES_SAMPLER`` and ``OTEL_SERVICE_NAME``.
    part
        Who traces, such as ``ranker``.

    Raises
    ------
    ConfigError
        No exporter of that name is installed.
    """
    exporter = exporter_asked(environment)
    if exporter is None:
        return NoSpans()
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - only where traces are wanted
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    own = {"service.instance.id": part, **({} if "OTEL_SERVICE_NAME" in environment else {"service.name": _SERVICE})}
    provider = TracerProvider(resource=Resource.create(own))
    provider.add_span_processor(BatchSpanProcessor(_exporter(exporter)))
    return OpenTelemetrySpans(provider)


def exporter_asked(environment: Mapping[str, str]) -> str | None:
    """Return the name of the exporter that is asked for, None where tracing is off."""
    if environment.get(_DISABLED, "").lower() == "true":
        return None
    named = environment.get(_EXPORTER) or (_OTLP if any(environment.get(name) for name in _ENDPOINTS) else "none")
    return None if named == "none" else named


def forwarded_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return OpenTelemetry's variables that may stand in Serve's config, its logs and its dashboard."""
    withheld = withheld_variables(environment)
    return {name: value for name, value in environment.items() if name.startswith(PREFIX) and name not in withheld}


def withheld_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the names of OpenTelemetry's variables that hold secrets: headers, and addresses with a password.

    A cluster that is started here has them from this process; elsewhere the nodes must have them of their own.
    """
    own = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    return sorted(name for name, value in own.items() if name.endswith("_HEADERS") or _HAS_PASSWORD.search(value))


def _exporter(name: str) -> SpanExporter:
    # What OpenTelemetry calls otlp is registered under the protocol that it speaks; over HTTP it needs no gRPC.
    registered = "otlp_proto_http" if name == _OTLP else name
    found = list(entry_points(group="opentelemetry_traces_exporter", name=registered))
    if not found:
        raise ConfigError(f"{_EXPORTER}={name}: no exporter of that name is installed; otlp and console always are")
    made: SpanExporter = found[0].load()()
    return made


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
