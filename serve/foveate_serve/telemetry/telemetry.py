"""The one thing that stages talk to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from ray.serve import metrics

from foveate.bundle import Bundle, BundleShard
from foveate.core.messages import Candidates, RequestContext
from foveate.recommend.pipeline import Contexts
from foveate_serve.telemetry import names
from foveate_serve.telemetry.names import METRICS, Metric
from foveate_serve.telemetry.spans import NoSpans, Spans, spans_of

_RENEW_S: Final = 5.0
"""Ray drops a gauge from its page that was not set for twice its export interval, which is 10 seconds by default."""


class Meter:
    """Records what :mod:`foveate_serve.telemetry.names` lists; Serve adds which replica of what it was.

    Parameters
    ----------
    renew_s
        Seconds after which each gauge is set again to where it stands, for as long as the process lives.
    """

    def __init__(self, renew_s: float = _RENEW_S) -> None:
        self._made = {metric.name: _made(metric) for metric in METRICS}
        self._standing: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self._renew_s = renew_s
        self._renewing: threading.Thread | None = None

    def add(self, metric: Metric, **tags: str) -> None:
        """Count one more."""
        self._made[metric.name].inc(1, tags=tags)

    def see(self, metric: Metric, value: float, **tags: str) -> None:
        """Put a value into a histogram."""
        self._made[metric.name].observe(value, tags=tags)

    def show(self, metric: Metric, value: float, **tags: str) -> None:
        """Have a gauge stand at a value."""
        self._made[metric.name].set(value, tags=tags)
        self._standing[metric.name, frozenset(tags.items())] = value
        if self._renewing is None:
            self._renewing = threading.Thread(target=self._renew, name="gauges", daemon=True)
            self._renewing.start()

    def _renew(self) -> None:
        while True:
            time.sleep(self._renew_s)
            for (name, tags), value in list(self._standing.items()):
                self._made[name].set(value, tags=dict(tags))


class NoMeter:
    """Records nothing."""

    def add(self, metric: Metric, **tags: str) -> None:
        """Do nothing."""

    def see(self, metric: Metric, value: float, **tags: str) -> None:
        """Do nothing."""

    def show(self, metric: Metric, value: float, **tags: str) -> None:
        """Do nothing."""


def _made(metric: Metric) -> Any:
    common: dict[str, Any] = {"description": metric.description, "tag_keys": metric.tags}
    if metric.kind == "histogram":
        return metrics.Histogram(metric.name, boundaries=list(metric.buckets), **common)
    make: Any = {"counter": metrics.Counter, "gauge": metrics.Gauge}[metric.kind]
    return make(metric.name, **common)


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
