"""Settings and outcome side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import plotly.graph_objects as go

from foveate_tune.report.base import Panel, Picture
from foveate_tune.report.drawing import GOOD, QUIET, WINNER, figure, hover, short_names, shown
from foveate_tune.report.record import SweepRecord
from foveate_tune.trials.record import TrialRecord

_JITTER = 0.03
"""How far lines through one named value lie apart, as a share of the axis."""


@dataclass(frozen=True)
class Axis:
    """One upright axis: where each trial crosses it, from 0 to 1, and what is written on it."""

    label: str
    heights: Sequence[float]
    ticks: Sequence[tuple[float, str]]


class Parallel(Picture):
    """A line a trial through all its settings to what it came to.

    Plotly's own parallel coordinates need WebGL, which a remote desktop often lacks; these are plain lines.
    """

    name: ClassVar[str] = "parallel"
    title: ClassVar[str] = "Settings and outcome"
    place: ClassVar[int] = 50

    def draw(self, sweep: SweepRecord) -> Panel:
        """Draw the settings that most trials have, and the metric."""
        trials = sweep.measured
        columns = sweep.columns()
        paths = [path for path in columns if sum(path in t.settings for t in trials) * 2 >= len(trials)]
        if len(trials) < 2 or not paths:
            return Panel("It takes two trials with different settings to compare them.")
        names = short_names(columns)
        axes = [_axis(names[path], [trial.settings.get(path) for trial in trials]) for path in paths]
        axes += [_numeric(one.name, [t.metrics[one.name] for t in trials]) for one in sweep.config.level.objectives]
        figure_ = figure(
            xaxis={"range": [-0.25, len(axes) - 0.55], "visible": False, "fixedrange": True},
            yaxis={"range": [-0.08, 1.16], "visible": False, "fixedrange": True},
            margin={"l": 8, "r": 8, "t": 16, "b": 8},
            legend={"traceorder": "reversed"},
        )
        good = {trial.name for trial in trials[: math.ceil(len(trials) / 4)]}
        named: set[str] = set()
        # What matters comes last, so that it lies on top.
        order = sorted(range(len(trials)), key=lambda rank: (trials[rank] is sweep.winner, -rank))
        for rank in order:
            group = _group(trials[rank], sweep, good)
            figure_.add_scatter(
                **_line(trials[rank], [axis.heights[rank] for axis in axes], sweep, group),
                showlegend=group[0] not in named,
            )
            named.add(group[0])
        for place, axis in enumerate(axes):
            _write(figure_, place, axis)
        rare = [names[path] for path in columns if path not in paths]
        widest = max(len(axis.label) for axis in axes)
        caption = _caption(sweep, len(good), len(trials), rare)
        return Panel(caption, figure_, height=400, width=max(110, 9 * widest) * len(axes))


def _group(trial: TrialRecord, sweep: SweepRecord, good: set[str]) -> tuple[str, str, float]:
    if trial is sweep.winner:
        return f"{sweep.title}: {trial.name}", WINNER, 3.0
    return ("best quarter", GOOD, 1.8) if trial.name in good else ("others", QUIET, 1.0)


def _line(
    trial: TrialRecord, heights: list[float], sweep: SweepRecord, group: tuple[str, str, float]
) -> dict[str, Any]:
    name, colour, width = group
    return {
        "x": list(range(len(heights))),
        "y": heights,
        "mode": "lines",
        "name": name,
        "legendgroup": name,
        "line": {"color": colour, "width": width},
        "hovertemplate": f"{hover(trial, sweep)}<extra></extra>",
    }


def _write(figure_: go.Figure, place: int, axis: Axis) -> None:
    figure_.add_shape(type="line", x0=place, x1=place, y0=0, y1=1, line={"width": 1, "color": QUIET}, layer="below")
    figure_.add_annotation(x=place, y=1.07, text=f"<b>{axis.label}</b>", showarrow=False, yanchor="bottom")
    for height, text in axis.ticks:
        figure_.add_annotation(
            x=place, y=height, text=text, showarrow=False, xanchor="left", xshift=4, font={"size": 11}, borderpad=1
        )


def _axis(label: str, values: list[Any]) -> Axis:
    kinds = {type(value) for value in values}
    few = len(set(map(str, values))) <= 5
    if kinds <= {int, float} and not few:
        return _numeric(label, values)
    return _named(label, values)


def _named(label: str, values: list[Any]) -> Axis:
    """Lay out values by name, those of one name a little apart so that every line is seen."""
    absent = [None] if None in values else []
    rest = sorted({value for value in values if value is not None}, key=lambda v: (isinstance(v, str), v))
    order = [*absent, *rest]
    step = 1 / max(1, len(order) - 1)
    apart = _JITTER / max(1, len(values) - 1)
    heights = [order.index(value) * step + (rank * apart - _JITTER / 2) for rank, value in enumerate(values)]
    return Axis(label, heights, [(i * step, "not drawn" if v is None else shown(v)) for i, v in enumerate(order)])


def _numeric(label: str, values: list[float]) -> Axis:
    low, high = min(values), max(values)
    logged = low > 0 and high / low >= 8
    scale = [math.log(value) if logged else float(value) for value in values]
    bottom, span = min(scale), (max(scale) - min(scale)) or 1.0
    middle = math.exp(bottom + span / 2) if logged else bottom + span / 2
    ticks = [(0.0, f"{low:.3g}"), (0.5, f"{middle:.3g}"), (1.0, f"{high:.3g}")]
    return Axis(label, [(value - bottom) / span for value in scale], ticks)


def _caption(sweep: SweepRecord, good: int, trials: int, rare: list[str]) -> str:
    lead = f"Each line is a trial; the best {good} of {trials} by {sweep.metric} stand out."
    lead += " Where they run together, a setting matters."
    return f"{lead} Left out, for few trials have them: {', '.join(rare)}." if rare else lead
