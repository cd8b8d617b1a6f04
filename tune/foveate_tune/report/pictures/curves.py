"""Picture: learning curves, and where trials were stopped."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from foveate_tune.report.base import Panel, Picture
from foveate_tune.report.drawing import STATES, WINNER, counted, figure, hover
from foveate_tune.report.record import SweepRecord
from foveate_tune.trials.record import EPOCH, UNFINISHED, TrialRecord

_ENDS = {"stopped early": "x", "out of time": "triangle-right", "diverged": "x-thin", "failed": "x-thin"}


class Curves(Picture):
    """A line a trial, the best in a colour of its own, what was stopped ending in a cross."""

    name: ClassVar[str] = "curves"
    title: ClassVar[str] = "Learning curves"
    place: ClassVar[int] = 30

    def draw(self, sweep: SweepRecord) -> Panel | None:
        """Draw the metric by epoch; nothing where a trial reports once."""
        if sweep.steps == 1:
            return None
        lines = [(trial, _points(trial, sweep.metric)) for trial in sweep.trials]
        lines = [(trial, points) for trial, points in lines if points]
        if max((len(points) for _, points in lines), default=0) < 2:
            return Panel("No trial reported more than once, so there is no curve to draw.")
        figure_ = figure(
            xaxis={"title": {"text": "epoch"}, "dtick": _tick(sweep)},
            legend={"traceorder": "reversed"},
            yaxis={"title": {"text": f"{sweep.metric} (validation)"}},
        )
        best = sweep.winner.name
        named: set[str] = set()
        # The best comes last, so that it lies on top.
        for trial, points in reversed(lines):
            group = "best" if trial.name == best else trial.state
            figure_.add_scatter(**_line(trial, points, sweep, group), showlegend=group not in named)
            named.add(group)
        for name, figures in sweep.baselines.items():
            if sweep.metric not in figures:
                continue
            figure_.add_hline(
                figures[sweep.metric], line={"dash": "dot", "width": 1.5, "color": STATES["stopped early"]},
                annotation={"text": name, "xanchor": "right", "yanchor": "bottom"},
            )  # fmt: skip
        return Panel(_caption(sweep), figure_, height=420)


def _points(trial: TrialRecord, metric: str) -> list[tuple[int, float]]:
    return [(int(e[EPOCH]), float(e[metric])) for e in trial.epochs if metric in e]


def _line(trial: TrialRecord, points: list[tuple[int, float]], sweep: SweepRecord, group: str) -> dict[str, Any]:
    best = group == "best"
    colour = WINNER if best else STATES[trial.state]
    symbols = ["circle"] * len(points)
    sizes = [5.0 if best else 3.0] * len(points)
    if trial.state in _ENDS:
        symbols[-1], sizes[-1] = _ENDS[trial.state], 9.0
    return {
        "x": [epoch for epoch, _ in points],
        "y": [value for _, value in points],
        "name": f"best: {trial.name}" if best else trial.state,
        "legendgroup": group,
        "mode": "lines+markers",
        "line": {
            "color": colour,
            "width": 3 if best else 1.4,
            "dash": "dash" if trial.state == UNFINISHED else "solid",
        },
        "marker": {"symbol": symbols, "size": sizes, "color": colour, "line": {"width": 0}},
        "hovertemplate": f"epoch %{{x}}: %{{y:.4f}}<br>{hover(trial, sweep)}<extra></extra>",
    }


def _tick(sweep: SweepRecord) -> int:
    return max(1, round(max(len(trial.epochs) for trial in sweep.trials) / 10))


def _caption(sweep: SweepRecord) -> str:
    states = Counter(trial.state for trial in sweep.trials)
    stopped = states["stopped early"]
    text = [f"{counted(states['finished'], 'trial')} trained all {sweep.steps} epochs"]
    text += [f"{sweep.config.scheduler.name} stopped {stopped}, each where its line ends in a cross"] if stopped else []
    text += [f"{states[state]} {state}" for state in ("out of time", "diverged", "failed", UNFINISHED) if states[state]]
    return f"{sweep.metric} on validation after every epoch. {'; '.join(text)}."
