"""Colours, names of settings and formats, shared by all pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import plotly.graph_objects as go

from foveate_tune.report.record import SweepRecord
from foveate_tune.trials.record import UNFINISHED, TrialRecord

WINNER = "#d55e00"
GOOD = "#0072b2"
QUIET = "#808890"
STATES: Mapping[str, str] = {
    "finished": GOOD,
    "stopped early": QUIET,
    "out of time": "#a3702c",
    "diverged": "#c83c5a",
    "failed": "#c83c5a",
    UNFINISHED: "#00916a",
}
"""Each at least 3:1 against the page, light or dark."""


def figure(**layout: Any) -> go.Figure:
    """Return an empty figure in the report's style."""
    legend = {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, **layout.pop("legend", {})}
    base: dict[str, Any] = {
        "template": {"layout": {"font": {"family": "system-ui, sans-serif", "size": 13}}},
        "margin": {"l": 64, "r": 16, "t": 16, "b": 56},
        "legend": legend,
        "hoverlabel": {"align": "left"},
    }
    return go.Figure(layout={**base, **layout})


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Return settings' names as short as they stay apart, such as ``mixer.heads`` for ``encoder.mixer.heads``."""
    full = list(paths)
    cut = [path.partition(".")[2] or path for path in full]
    return {path: short if cut.count(short) == 1 else path for path, short in zip(full, cut, strict=True)}


def shown(value: Any) -> str:
    """Return a setting's value as a text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def hover(trial: TrialRecord, sweep: SweepRecord) -> str:
    """Return what a pointer over a trial's mark is told."""
    names = short_names(trial.settings)
    lines = [f"<b>{trial.name}</b>, {trial.state}", f"{sweep.metric} {sweep.first.text(trial.metrics)}"]
    lines += [f"{names[path]} {shown(setting)}" for path, setting in trial.settings.items()]
    return "<br>".join(line for line in lines if line)


def duration(seconds: float) -> str:
    """Return seconds in the units one would say them in."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def counted(n: int, noun: str) -> str:
    """Return ``1 trial`` or ``3 trials``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
