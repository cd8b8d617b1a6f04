"""Makes the Grafana dashboards: every query is made of the names that the code itself records by.

Run it after a change of this file or of those names; a test finds where that was forgotten.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from foveate_serve.names import APPLICATION
from foveate_serve.telemetry import names
from foveate_serve.telemetry.names import Metric

FOLDER: Final = Path(__file__).resolve().parent / "grafana"
_ALL: Final = f'application="{APPLICATION}"'
_QUANTILES: Final = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_WIDE, _HIGH = 8, 8
"""Of a panel, on Grafana's grid of 24 columns."""


@dataclass(frozen=True)
class Panel:
    """One picture: a title, Grafana's name of the unit, and queries by what their lines are called."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    about: str = ""


def rate(name: str, by: str = "", labels: str = _ALL) -> str:
    """Return how often a counter counts each second, summed up."""
    return f"sum{f' by ({by})' if by else ''} (rate({name}{{{labels}}}[$__rate_interval]))"


def at_most(bound: float, metric: Metric, by: str = "") -> str:
    """Return the share of what a histogram took in that is not above one of its bounds.

    There is no mean: of each value Ray 2.60 passes on the bucket alone, and puts the middle of that into the sum.
    """
    below = rate(f"{metric.exported}_bucket", by, f'{_ALL}, le="{bound}"')
    return f"{below} / {rate(f'{metric.exported}_count', by)}"


def quantile(share: float, buckets: str, by: str = "", labels: str = _ALL) -> str:
    """Return a quantile of what a histogram took in."""
    return f"histogram_quantile({share}, {rate(buckets, f'le, {by}' if by else 'le', labels)})"


def quantiles(metric: Metric) -> list[tuple[str, str]]:
    """Return the usual quantiles of a histogram."""
    return [(name, quantile(share, f"{metric.exported}_bucket")) for name, share in _QUANTILES]


def gauge(metric: Metric) -> str:
    """Return a gauge of every replica."""
    return f"{metric.exported}{{{_ALL}}}"


_POSTS: Final = f'{_ALL}, method="POST"'
_LATENCY: Final = "ray_serve_http_request_latency_ms_bucket"
_REQUESTS: Final = "ray_serve_num_http_requests_total"
_ERRORS: Final = "ray_serve_num_http_error_requests_total"

SERVING: Final[Sequence[tuple[str, Sequence[Panel]]]] = (
    (
        "Requests",
        (
            Panel("Requests by status", "reqps", [("{{status_code}}", rate(_REQUESTS, "status_code"))]),
            Panel(
                "Share of errors",
                "percentunit",
                [("{{error_code}}", f"{rate(_ERRORS, 'error_code')} / on () group_left () {rate(_REQUESTS)}")],
            ),
            Panel(
                "Time of a request, as the proxy sees it",
                "ms",
                [(name, quantile(share, _LATENCY, labels=_POSTS)) for name, share in _QUANTILES],
            ),
        ),
    ),
    (
        "Stages",
        (
            Panel("Time of a slate", "s", quantiles(names.REQUEST_SECONDS)),
            Panel(
                "Time of a stage, p95",
                "s",
                [("{{stage}}", quantile(0.95, f"{names.STAGE_SECONDS.exported}_bucket", "stage"))],
            ),
            Panel(
                "Batches of more than one request",
                "percentunit",
                [("{{stage}}", f"1 - {at_most(1.0, names.BATCH_SIZE, 'stage')}")],
            ),
            Panel("Candidates of a request", "short", quantiles(names.CANDIDATES)),
            Panel("Lesser answers", "reqps", [("{{reason}}", rate(names.DEGRADED.exported, "reason"))]),
            Panel(
                "Requests without a shard",
                "reqps",
                [("{{shard}} {{reason}}", rate(names.SHARD_MISSED.exported, "shard, reason"))],
            ),
        ),
    ),
    (
        "Replicas",
        (
            Panel(
                "Replicas that are healthy",
                "short",
                [("{{deployment}}", f"sum by (deployment) (ray_serve_deployment_replica_healthy{{{_ALL}}})")],
            ),
            Panel(
                "Requests at work in a replica",
                "short",
                [("{{deployment}}", f"avg by (deployment) (ray_serve_replica_processing_queries{{{_ALL}}})")],
            ),
            Panel(
                "Replicas that a proxy knows",
                "short",
                [("{{instance}}", f'haproxy_backend_active_servers{{proxy="http-{APPLICATION}"}}')],
            ),
        ),
    ),
    (
        "Bundles",
        (
            Panel(
                "Age of what a bundle knows",
                "s",
                [("{{deployment}} {{replica}}", f"time() - ({gauge(names.BUNDLE_LEARNED)} > 0)")],
                "Nothing where a bundle's clock is order only.",
            ),
            Panel(
                "Time since a bundle was taken",
                "s",
                [("{{deployment}} {{replica}}", f"time() - {gauge(names.BUNDLE_TAKEN)}")],
            ),
            Panel(
                "Bundles taken and refused, by a replica since it began",
                "short",
                [
                    ("taken {{deployment}}", f"sum by (deployment) ({gauge(names.SWAPS)})"),
                    ("refused {{deployment}}", f"sum by (deployment) ({gauge(names.REFUSALS)})"),
                ],
            ),
        ),
    ),
    (
        "Shadow",
        (
            Panel("Requests of the shadow", "reqps", [("{{outcome}}", rate(names.SHADOWED.exported, "outcome"))]),
            Panel(
                "Slates that share half of their items or fewer",
                "percentunit",
                [("slates", at_most(0.5, names.SHADOW_OVERLAP))],
            ),
            Panel("Distance of scores from the shadow's", "short", quantiles(names.SHADOW_SCORE)),
            Panel("Time of the shadow", "s", quantiles(names.SHADOW_SECONDS)),
        ),
    ),
)


def dashboard(uid: str, title: str, rows: Sequence[tuple[str, Sequence[Panel]]]) -> dict[str, Any]:
    """Return a dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for name, row in rows:
        panels.append(_row(len(panels) + 1, name, top))
        top += 1
        for at, panel in enumerate(row):
            left, down = at % (24 // _WIDE) * _WIDE, at // (24 // _WIDE) * _HIGH
            panels.append(_panel(len(panels) + 1, panel, left, top + down))
        top += -(-len(row) * _WIDE // 24) * _HIGH
    source = {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": uid,
        "title": title,
        "tags": [APPLICATION],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }


def _row(number: int, title: str, top: int) -> dict[str, Any]:
    place = {"h": 1, "w": 24, "x": 0, "y": top}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(number: int, panel: Panel, left: int, top: int) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + at), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
        for at, (legend, query) in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": {"h": _HIGH, "w": _WIDE, "x": left, "y": top},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }


def rendered() -> dict[str, str]:
    """Return each dashboard as JSON, by the name of its file."""
    made = {"serving.json": dashboard("foveate-serving", "Foveate: serving", SERVING)}
    return {name: json.dumps(content, indent=1) + "\n" for name, content in made.items()}


def main() -> None:
    """Write every dashboard."""
    for name, text in rendered().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
