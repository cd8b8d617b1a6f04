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
        several = len(sweep.config.level.objectives) > 1
        marks = dict.fromkeys(sweep.front, "front") | {sweep.winner.name: "knee"}
        columns = [
            Column("rank", "d"),
            Column("trial"),
            *(Column(one.name + (one.unit and f", {one.unit}"), f".{one.digits}f") for one in sweep.figures),
            *([Column("front")] if several else []),
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
                *([marks.get(trial.name)] if several else []),
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
        return Panel(_caption(sweep), table=Table(columns, rows, marked=sweep.trials.index(sweep.winner)))


def _form(sweep: SweepRecord, path: str) -> str:
    values = [trial.settings[path] for trial in sweep.trials if path in trial.settings]
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    return ".4g" if numbers else ""


def _caption(sweep: SweepRecord) -> str:
    winner, first = sweep.winner, sweep.first
    if first.name not in winner.metrics:
        return "No trial has a figure yet."
    figures = ", ".join(f"{one.name} {one.text(winner.metrics)}" for one in sweep.config.level.objectives)
    lead = f"{winner.name} is the {sweep.title}: {figures} on validation"
    base = sweep.baselines.get("popularity", {})
    above = "above" if first.gain(winner.metrics) > first.gain(base) else "NOT above"
    against = f"; its {first.name} is {above} popularity's {first.text(base)}" if first.name in base else ""
    return (
        f"{lead}{against}. Rows are in the order of {first.name}, each trial with its best epoch. The best of many"
        " trials flatters itself, so the test window is left to 'foveate evaluate'. Click a heading to sort."
    )
