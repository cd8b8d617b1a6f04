"""The one thing that stages talk to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from foveate.bundle import Bundle, BundleShard
from foveate.core.messages import Candidates, RequestContext
from foveate.recommend.pipeline import Contexts
from foveate_serve.telemetry import names
from foveate_serve.telemetry.meter import Meter, NoMeter
from foveate_serve.telemetry.spans import NoSpans, Spans, spans_of


class Telemetry:
    """What one replica shows of its work.

    Parameters
    ----------
    meter
        Where figures go.
    spans
        Where traces go.
    """

    def __init__(self, meter: Meter | NoMeter, spans: Spans) -> None:
        self.meter = meter
        self.spans = spans

    @classmethod
    def of_replica(cls, part: str, environment: Mapping[str, str]) -> Telemetry:
        """Return the telemetry of a replica that is just starting, as the environment that Ray started it in asks."""
        return cls(Meter(), spans_of(environment, part))

    @classmethod
    def unseen(cls) -> Telemetry:
        """Return the telemetry that records nothing."""
        return cls(NoMeter(), NoSpans())

    @property
    def traces(self) -> bool:
        """Whether there are traces."""
        return not isinstance(self.spans, NoSpans)

    @contextmanager
    def request(self, context: RequestContext) -> Iterator[RequestContext]:
        """Cover one request, at the ingress; yields the context to hand on, which carries the trace."""
        began = time.perf_counter()
        about = {"request_id": context.request_id, "bundle_id": context.bundle_id, "surface": context.surface}
        with self.spans.span(names.REQUEST, [context.trace], **about):
            trace = self.spans.current_trace()
            yield replace(context, trace=trace) if trace else context
        self.meter.see(names.REQUEST_SECONDS, time.perf_counter() - began, surface=context.surface)

    @contextmanager
    def stage(self, stage: str, contexts: Contexts) -> Iterator[None]:
        """Cover one of :data:`foveate_serve.telemetry.names.STAGES`, for a batch, wherever it runs."""
        began = time.perf_counter()
        with self.spans.span(stage, [context.trace for context in contexts], batch=len(contexts)):
            yield
        self.meter.see(names.STAGE_SECONDS, time.perf_counter() - began, stage=stage)
        self.meter.see(names.BATCH_SIZE, len(contexts), stage=stage)

    def candidates(self, found: Sequence[Candidates]) -> None:
        """Tell how many candidates each request has."""
        for one in found:
            self.meter.see(names.CANDIDATES, len(one.items))

    def degraded(self, reasons: Sequence[str]) -> None:
        """Tell what stood in for a stage, if anything did."""
        for reason in reasons:
            self.meter.add(names.DEGRADED, reason=reason)

    def swapped(self, bundle: Bundle | BundleShard | None) -> None:
        """Tell that a bundle, or a shard of one, was swapped in, or, with None, that one was refused."""
        if bundle is None:
            self.meter.add(names.REFUSALS)
            return
        self.meter.add(names.SWAPS)
        self.meter.show(names.BUNDLE_TAKEN, time.time())
        self.meter.show(names.BUNDLE_LEARNED, (bundle.manifest.learned_until or 0) / 1e6)


def about(context: RequestContext) -> dict[str, str]:
    """Return what a log line says of the request that it is about, as ``extra`` of a logger's call."""
    return {names.LOG_REQUEST_ID: context.request_id, names.LOG_BUNDLE_ID: context.bundle_id}
