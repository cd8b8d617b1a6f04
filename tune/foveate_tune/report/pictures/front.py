"""What cannot be had together: the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from foveate_tune.front import non_dominated
from foveate_tune.levels.base import Objective
from foveate_tune.report.base import Panel, Picture
from foveate_tune.report.drawing import QUIET, WINNER, figure, hover
from foveate_tune.report.record import SweepRecord, TrialRecord

Points = Sequence[tuple[TrialRecord, bool]]
"""Trials, and whether each is on the front."""

SECONDS = Objective("seconds", "min", digits=1, unit="s")
"""What one pays where the sweep has one objective."""


class Front(Picture):
    """The first objective against each of the others; against training time where it is the only one."""

    name: ClassVar[str] = "front"
    title: ClassVar[str] = "Pareto front"
    place: ClassVar[int] = 35

    def draw(self, sweep: SweepRecord) -> Panel:
        """Mark the trials that no other beats in everything."""
        first, *others = sweep.config.level.objectives
        axes = others or [SECONDS]
        trials = [t for t in sweep.measured if all(axis.name in _figures(t) for axis in axes)]
        if not trials:
            return Panel("No trial has a figure yet.")
        gains = [[one.gain(_figures(trial)) for one in (first, *axes)] for trial in trials]
        points = list(zip(trials, non_dominated(np.array(gains)).tolist(), strict=True))
        figure_ = make_subplots(rows=1, cols=len(axes), shared_yaxes=True, horizontal_spacing=0.06)
        figure_.update_layout(figure().layout)
        for column, axis in enumerate(axes, 1):
            _scatter(figure_, column, sweep, points, axis)
        figure_.update_yaxes(title={"text": f"{first.name} (validation)"}, col=1)
        names = [trial.name for trial, is_on in points if is_on]
        return Panel(_caption(sweep, names, axes, trials), figure_, width=300 * len(axes))


def _figures(trial: TrialRecord) -> dict[str, float]:
    return {SECONDS.name: trial.seconds, **trial.metrics}


def _scatter(figure_: go.Figure, column: int, sweep: SweepRecord, points: Points, axis: Objective) -> None:
    """Draw one subplot; where there is but one, a line joins the front."""
    alone = axis is SECONDS
    for on_front, name, colour, size in ((False, "others", QUIET, 7), (True, "front", WINNER, 10)):
        trials = [trial for trial, is_on in points if is_on == on_front]
        trials.sort(key=lambda trial: _figures(trial)[axis.name])
        figure_.add_scatter(
            x=[_figures(trial)[axis.name] for trial in trials],
            y=[trial.metrics[sweep.metric] for trial in trials],
            mode="lines+markers" if on_front and alone else "markers",
            line={"shape": "hv", "width": 1.5, "color": colour},
            marker={"size": size, "color": colour, "symbol": "diamond" if on_front else "circle"},
            name=name,
            legendgroup=name,
            showlegend=column == 1 and bool(trials),
            hovertext=[f"{hover(trial, sweep)}<br>{axis.name} {axis.text(_figures(trial))}" for trial in trials],
            hovertemplate="%{hovertext}<extra></extra>",
            row=1,
            col=column,
        )
    better = "lower is better" if axis.direction == "min" else "higher is better"
    label = "training time, seconds" if alone else axis.name + (axis.unit and f", {axis.unit}")
    figure_.update_xaxes(title={"text": f"{label} ({better})"}, col=column)


def _caption(sweep: SweepRecord, names: list[str], axes: Sequence[Objective], trials: list[TrialRecord]) -> str:
    against = "training time" if axes[0] is SECONDS else " and ".join(axis.name for axis in axes)
    lead = f"{sweep.metric} against {against}, one point a trial."
    few = f"{', '.join(names[:8])}{' and more' if len(names) > 8 else ''}"
    told = f"{lead} On the front are {len(names)} of {len(trials)}, for no other is better in everything: {few}."
    if axes[0] is SECONDS:
        told += " Trials that were stopped early are cheap for that reason."
    return told
