"""Telemetry of a running server: metrics, traces and log lines that name their request.

A replica holds one :class:`~foveate_serve.telemetry.telemetry.Telemetry` and tells it what it does; where that goes is
decided once, when the replica starts. The names of everything stand in :mod:`foveate_serve.telemetry.names`.
"""

from __future__ import annotations

from foveate_serve.telemetry import names
from foveate_serve.telemetry.telemetry import Telemetry, about

__all__ = ["Telemetry", "about", "names"]
