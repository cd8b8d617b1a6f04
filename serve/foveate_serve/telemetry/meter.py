"""Metrics through Ray: recorded in the replica, exported by its node's agent, read by Prometheus."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from ray.serve import metrics

from foveate_serve.telemetry.names import METRICS, Metric

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
