"""Metrics through Ray: recorded in the replica, exported by its node's agent, read by Prometheus."""

from __future__ import annotations

from typing import Any

from ray.serve import metrics

from foveate_serve.sight.names import METRICS, Metric


class Meter:
    """Records what :mod:`foveate_serve.sight.names` lists; Serve adds which replica of what it was."""

    def __init__(self) -> None:
        self._made = {metric.name: _made(metric) for metric in METRICS}

    def add(self, metric: Metric, **tags: str) -> None:
        """Count one more."""
        self._made[metric.name].inc(1, tags=tags)

    def see(self, metric: Metric, value: float, **tags: str) -> None:
        """Put a value into a histogram."""
        self._made[metric.name].observe(value, tags=tags)

    def show(self, metric: Metric, value: float, **tags: str) -> None:
        """Have a gauge stand at a value."""
        self._made[metric.name].set(value, tags=tags)


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
