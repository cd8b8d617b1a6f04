"""Picture: the Pareto front."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from foveate_tune.objective import Objective
from foveate_tune.report.base import Panel, Picture
from foveate_tune.report.drawing import GOOD, QUIET, WINNER, figure, hover
from foveate_tune.report.record import SweepRecord
from foveate_tune.results.pareto import non_dominated
from foveate_tune.trials.record import TrialRecord

Group = tuple[list[TrialRecord], str, dict[str, Any]]
"""Trials that are drawn alike: with their name in the legend, and their mark."""

SECONDS = Objective("seconds", "min", digits=1, unit="s")
"""What one pays where the sweep has one objective."""


class Front(Picture):
    """The first objective against each of the others; against training time where it is the only one."""

    name: ClassVar[str] = "front"
    title: ClassVar[str] = "Pareto front"
    place: ClassVar[int] = 35

    def draw(self, sweep: SweepRecord) -> Panel:
        """Mark the trials that no other dominates, and the winner."""
        first, *others = sweep.config.level.objectives
        axes = others or [SECONDS]
        trials = [trial for trial in sweep.measured if all(axis.name in _figures(trial) for axis in axes)]
        if not trials:
            return Panel("No trial has a figure yet.")
        gains = np.array([[one.gain(_figures(trial)) for one in (first, *axes)] for trial in trials])
        front = [trial for trial, is_on in zip(trials, non_dominated(gains), strict=True) if is_on]
        figure_ = make_subplots(rows=1, cols=len(axes), shared_yaxes=True, horizontal_spacing=0.06)
        figure_.update_layout(figure().layout)
        for column, axis in enumerate(axes, 1):
            if axis is SECONDS:
                _join(figure_, sweep, front)
            for group in _groups(sweep, trials, front):
                figure_.add_scatter(**_marks(sweep, axis, *group), showlegend=column == 1, row=1, col=column)
            better = "lower is better" if axis.direction == "min" else "higher is better"
            figure_.update_xaxes(title={"text": f"{_label(axis)} ({better})"}, col=column)
        figure_.update_yaxes(title={"text": f"{first.name} (validation)"}, col=1)
        return Panel(_caption(sweep, front, axes, len(trials)), figure_, width=300 * len(axes))


def _figures(trial: TrialRecord) -> dict[str, float]:
    return {SECONDS.name: trial.seconds, **trial.metrics}


def _label(axis: Objective) -> str:
    return "training time, seconds" if axis is SECONDS else axis.name + (axis.unit and f", {axis.unit}")


def _groups(sweep: SweepRecord, trials: list[TrialRecord], front: list[TrialRecord]) -> Iterator[Group]:
    """Yield the trials apart: each is drawn once, the winner on top."""
    winner = sweep.winner.name
    apart = (
        ([trial for trial in trials if trial not in front], "others", {"color": QUIET, "size": 7}),
        (front, "front", {"color": GOOD, "size": 9, "symbol": "diamond"}),
        (trials, f"{sweep.title}: {winner}", {"color": WINNER, "size": 14, "symbol": "star"}),
    )
    for some, name, marker in apart:
        alone = name not in ("others", "front")
        if kept := [trial for trial in some if (trial.name == winner) == alone]:
            yield kept, name, marker


def _marks(
    sweep: SweepRecord, axis: Objective, trials: list[TrialRecord], name: str, marker: dict[str, Any]
) -> dict[str, Any]:
    return {
        "x": [_figures(trial)[axis.name] for trial in trials],
        "y": [trial.metrics[sweep.metric] for trial in trials],
        "mode": "markers",
        "marker": {**marker, "line": {"width": 0}},
        "name": name,
        "legendgroup": name,
        "hovertext": [f"{hover(trial, sweep)}<br>{axis.name} {axis.text(_figures(trial))}" for trial in trials],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def _join(figure_: go.Figure, sweep: SweepRecord, front: list[TrialRecord]) -> None:
    """Draw what is to be had for how much time, below the marks."""
    ordered = sorted(front, key=lambda trial: trial.seconds)
    figure_.add_scatter(
        x=[trial.seconds for trial in ordered],
        y=[trial.metrics[sweep.metric] for trial in ordered],
        mode="lines",
        line={"shape": "hv", "width": 1.5, "color": GOOD},
        hoverinfo="skip",
        showlegend=False,
    )


def _caption(sweep: SweepRecord, front: list[TrialRecord], axes: Sequence[Objective], trials: int) -> str:
    against = "training time" if axes[0] is SECONDS else ", ".join(axis.name for axis in axes)
    names = [trial.name for trial in front]
    few = f"{', '.join(names[:8])}{' and more' if len(names) > 8 else ''}"
    text = f"{sweep.metric} against {against}, one point a trial. On the front are {len(front)} of {trials}:"
    text += f" no other trial is at least as good as these in everything and better in something ({few})."
    if axes[0] is SECONDS:
        return f"{text} Trials that were stopped early are cheap for that reason."
    return f"{text} {sweep.winner.name} is the front's knee: what is nearest to the best of all at once."
