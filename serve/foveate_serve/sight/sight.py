"""The one thing that stages talk to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from foveate.messages import RequestContext
from foveate.pipeline import Contexts
from foveate_serve.sight import names
from foveate_serve.sight.meter import Meter
from foveate_serve.sight.spans import Spans, spans_of


class Sight:
    """What one replica shows of its work.

    Parameters
    ----------
    meter
        Where figures go.
    spans
        Where traces go.
    """

    def __init__(self, meter: Meter, spans: Spans) -> None:
        self.meter = meter
        self.spans = spans

    @classmethod
    def of_replica(cls, part: str, environment: Mapping[str, str]) -> Sight:
        """Make the sight of a replica that is just starting, as the environment that Ray started it in asks."""
        return cls(Meter(), spans_of(environment, part))

    @contextmanager
    def request(self, context: RequestContext) -> Iterator[RequestContext]:
        """Cover one request, at the ingress; yields the context to hand on, which carries the trace."""
        began = time.perf_counter()
        about = {"request_id": context.request_id, "bundle_id": context.bundle_id, "surface": context.surface}
        with self.spans.span(names.REQUEST, [context.trace], **about):
            trace = self.spans.carried()
            yield replace(context, trace=trace) if trace else context
        self.meter.see(names.REQUEST_SECONDS, time.perf_counter() - began, surface=context.surface)

    @contextmanager
    def stage(self, stage: str, contexts: Contexts) -> Iterator[None]:
        """Cover one of :data:`foveate_serve.sight.names.STAGES`, for a batch, wherever it runs."""
        began = time.perf_counter()
        with self.spans.span(stage, [context.trace for context in contexts], batch=len(contexts)):
            yield
        self.meter.see(names.STAGE_SECONDS, time.perf_counter() - began, stage=stage)
        self.meter.see(names.BATCH_SIZE, len(contexts), stage=stage)

    def candidates(self, count: int) -> None:
        """Tell how many candidates one request has."""
        self.meter.see(names.CANDIDATES, count)

    def degraded(self, reasons: tuple[str, ...]) -> None:
        """Tell what stood in for a stage, if anything did."""
        for reason in reasons:
            self.meter.add(names.DEGRADED, reason=reason)

    def took(self, learned_until: int | None) -> None:
        """Tell that a bundle was swapped in, and how far its knowledge goes in UTC microseconds."""
        self.meter.add(names.SWAPS)
        self.meter.show(names.BUNDLE_TAKEN, time.time())
        self.meter.show(names.BUNDLE_LEARNED, (learned_until or 0) / 1e6)

    def refused(self) -> None:
        """Tell that a bundle was refused."""
        self.meter.add(names.REFUSALS)


def about(context: RequestContext) -> dict[str, str]:
    """Return what a log line says of the request that it is about, as ``extra`` of a logger's call."""
    return {"foveate_request_id": context.request_id, "bundle_id": context.bundle_id}
