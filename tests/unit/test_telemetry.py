"""What an operator sees: every metric is accepted by Ray, and spans of one request hang together across processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from foveate.bundle import Bundle
from foveate.core.errors import ConfigError
from foveate.core.messages import Filters, RequestContext
from foveate_serve.telemetry import Telemetry, names
from foveate_serve.telemetry.spans import (
    NoSpans,
    OpenTelemetrySpans,
    exporter_asked,
    forwarded_variables,
    spans_of,
    withheld_variables,
)
from foveate_serve.telemetry.telemetry import Meter

CONTEXT = RequestContext("r1", 0, "b1", 1, "home", 0, Filters())


def traced() -> tuple[Telemetry, InMemorySpanExporter]:
    """Return the sight of one process, and where its spans end."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Telemetry(Meter(), OpenTelemetrySpans(provider)), exporter


def test_names_are_unique_and_fit_prometheus() -> None:
    listed = [metric for metric in vars(names).values() if isinstance(metric, names.Metric)]
    assert sorted(listed, key=lambda one: one.name) == sorted(names.METRICS, key=lambda one: one.name)
    assert len({metric.name for metric in names.METRICS}) == len(names.METRICS)
    for metric in names.METRICS:
        assert re.fullmatch(r"foveate_[a-z_]+", metric.name)
        assert metric.description.endswith(".")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_every_metric_can_be_told(small_bundle: Bundle) -> None:
    meter = Meter()
    tell = {"counter": meter.add, "gauge": meter.show, "histogram": meter.see}
    for metric in names.METRICS:
        tags = dict.fromkeys(metric.tags, "one")
        tell[metric.kind](*((metric,) if metric.kind == "counter" else (metric, 1.0)), **tags)
    sight = Telemetry(meter, NoSpans())
    with sight.request(CONTEXT) as context, sight.stage(names.RANK, [context, context]):
        assert context is CONTEXT
    sight.candidates([])
    sight.degraded(["ranker_slow"])
    sight.swapped(small_bundle)
    sight.swapped(None)


def test_a_gauge_is_told_again_and_again_so_that_ray_keeps_it_on_its_page() -> None:
    meter, told = Meter(renew_s=0.01), threading.Semaphore(0)
    gauge = meter._made[names.BUNDLE_TAKEN.name]
    values: list[float] = []

    class Listened:
        def set(self, value: float, tags: dict[str, str]) -> None:
            gauge.set(value, tags=tags)
            values.append(value)
            told.release()

    meter._made[names.BUNDLE_TAKEN.name] = Listened()
    meter.show(names.BUNDLE_TAKEN, 7.0)
    assert all(told.acquire(timeout=10) for _ in range(3))
    meter.show(names.BUNDLE_TAKEN, 8.0)
    assert all(told.acquire(timeout=10) for _ in range(3))
    assert (values[0], values[-1]) == (7.0, 8.0)


def test_a_trace_goes_through_the_graph_in_the_request_context() -> None:
    ingress, at_ingress = traced()
    ranker, at_ranker = traced()
    with ingress.request(CONTEXT) as context, ingress.stage(names.HYDRATE, [context]):
        travelling = context
    # In another process, after the context has travelled.
    with ranker.stage(names.RANK, [travelling]):
        pass
    hydrate, request = at_ingress.get_finished_spans()
    [rank] = at_ranker.get_finished_spans()
    assert (request.name, hydrate.name, rank.name) == (names.REQUEST, names.HYDRATE, names.RANK)
    assert request.parent is None
    for child in (hydrate, rank):
        assert child.parent
        assert child.parent.span_id == request.context.span_id
        assert child.context.trace_id == request.context.trace_id
    assert dict(request.attributes or {}) == {"request_id": "r1", "bundle_id": "b1", "surface": "home"}


def test_the_span_of_a_batch_is_linked_to_every_request_in_it() -> None:
    ingress, at_ingress = traced()
    ranker, at_ranker = traced()
    contexts = []
    for number in range(3):
        with ingress.request(replace(CONTEXT, request_id=f"r{number}")) as context:
            contexts.append(context)
    with ranker.stage(names.RANK, contexts):
        pass
    first, *others = at_ingress.get_finished_spans()
    [rank] = at_ranker.get_finished_spans()
    assert rank.parent
    assert rank.parent.span_id == first.context.span_id
    assert [link.context.span_id for link in rank.links] == [span.context.span_id for span in others]


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({}, None),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, None),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_tracing_is_on_only_where_it_is_asked_for(variables: dict[str, str], asked: str | None) -> None:
    assert exporter_asked(variables) == asked
    assert isinstance(spans_of(variables, "ranker"), NoSpans) == (asked is None)


def test_an_exporter_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="OTEL_TRACES_EXPORTER=carrier_pigeon"):
        spans_of({"OTEL_TRACES_EXPORTER": "carrier_pigeon"}, "ranker")


def test_spans_are_exported_as_the_variables_say() -> None:
    code = (
        "from foveate_serve.telemetry.spans import spans_of\n"
        "import os\n"
        "spans = spans_of(os.environ, 'ranker')\n"
        "with spans.span('rank', batch=3): pass\n"
    )
    variables = {"OTEL_TRACES_EXPORTER": "console", "OTEL_SERVICE_NAME": "mine", "PATH": ""}
    told = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    span = json.loads(told.stdout)
    assert (span["name"], span["attributes"]) == ("rank", {"batch": 3})
    assert span["resource"]["attributes"]["service.name"] == "mine"


def test_secrets_of_the_exporter_stay_out_of_serves_config() -> None:
    environment = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://me:secret@collector:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=secret",
        "PATH": "/bin",
    }
    told = forwarded_variables(environment)
    assert sorted(told) == ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER"]
    assert "secret" not in str(told)
    assert len(withheld_variables(environment)) == 3
