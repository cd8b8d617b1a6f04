"""The trials, best first."""

from __future__ import annotations

from typing import ClassVar

from foveate_tune.report.base import Column, Panel, Picture, Table
from foveate_tune.report.drawing import short_names
from foveate_tune.report.record import SweepRecord


class Leaderboard(Picture):
    """A table that can be sorted by any column."""

    name: ClassVar[str] = "leaderboard"
    title: ClassVar[str] = "Leaderboard"
    place: ClassVar[int] = 20

    def draw(self, sweep: SweepRecord) -> Panel:
        """Give a row to every trial, and one to popularity."""
        paths = sweep.columns()
        names = short_names(paths)
        metrics = [one.name for one in sweep.figures]
        columns = [
            Column("rank", "d"),
            Column("trial"),
            *(Column(one.name + (one.unit and f", {one.unit}"), f".{one.digits}f") for one in sweep.figures),
            Column("best epoch", "d"),
            Column("epochs", "d"),
            Column("seconds", ".1f"),
            Column("ended"),
            *(Column(names[path], _form(sweep, path)) for path in paths),
        ]
        rows = [
            [
                rank,
                trial.name,
                *(trial.metrics.get(name) for name in metrics),
                trial.best_epoch or None,
                len(trial.epochs) or None,
                trial.seconds,
                trial.state if trial.reason is None else f"{trial.state}: {trial.reason}",
                *(trial.settings.get(path) for path in paths),
            ]
            for rank, trial in enumerate(sweep.trials, 1)
        ]
        blank = [None] * (len(columns) - 2 - len(metrics))
        for name, figures in sweep.baselines.items():
            rows.append([None, name, *(figures.get(metric) for metric in metrics), *blank])
        return Panel(_caption(sweep), table=Table(columns, rows, marked=0))


def _form(sweep: SweepRecord, path: str) -> str:
    values = [trial.settings[path] for trial in sweep.trials if path in trial.settings]
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    return ".4g" if numbers else ""


def _caption(sweep: SweepRecord) -> str:
    best = sweep.trials[0]
    first = sweep.first
    if first.name not in best.metrics:
        return "No trial has a figure yet."
    lead = f"{best.name} is best: {first.name} {first.text(best.metrics)} on validation after epoch {best.best_epoch}"
    base = sweep.baselines.get("popularity", {})
    above = "above" if first.gain(best.metrics) > first.gain(base) else "NOT above"
    against = f", {above} popularity's {first.text(base)}" if first.name in base else ""
    return (
        f"{lead}{against}. Figures are those of each trial's best epoch; the best of many trials flatters itself, so"
        " the test window is left to 'foveate evaluate'. Click a heading to sort."
    )
