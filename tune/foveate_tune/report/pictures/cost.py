"""Picture: the cost of a sweep."""

from __future__ import annotations

from typing import ClassVar

from plotly.subplots import make_subplots

from foveate_tune.config import SweepConfig
from foveate_tune.report.base import Panel, Picture
from foveate_tune.report.drawing import STATES, duration, figure
from foveate_tune.report.record import SweepRecord


class Cost(Picture):
    """CPU and GPU seconds of every trial and of all."""

    name: ClassVar[str] = "cost"
    title: ClassVar[str] = "Cost"
    place: ClassVar[int] = 60

    def draw(self, sweep: SweepRecord) -> Panel:
        """Draw a bar a trial, best first."""
        units = [one for one in reserved(sweep.config).items() if one[1]]
        trials = list(reversed(sweep.trials))
        figure_ = make_subplots(rows=1, cols=len(units), shared_yaxes=True, horizontal_spacing=0.06)
        figure_.update_layout(figure(margin={"l": 16, "r": 16, "t": 16, "b": 56}, barmode="stack", bargap=0.25).layout)
        for column, (unit, each) in enumerate(units, 1):
            for state, colour in STATES.items():
                some = [trial for trial in trials if trial.state == state and trial.seconds]
                if not some:
                    continue
                figure_.add_bar(
                    x=[trial.seconds * each for trial in some],
                    y=[trial.name for trial in some],
                    orientation="h",
                    name=state,
                    legendgroup=state,
                    showlegend=column == 1,
                    marker={"color": colour},
                    hovertext=[f"{trial.name}, {trial.state}: {_cost(trial.seconds, sweep)}" for trial in some],
                    hovertemplate="%{hovertext}<extra></extra>",
                    row=1,
                    col=column,
                )
            figure_.update_xaxes(title={"text": unit}, rangemode="tozero", col=column)
        names = [trial.name for trial in trials]
        figure_.update_yaxes(type="category", categoryorder="array", categoryarray=names)
        figure_.update_yaxes(automargin=True, dtick=1 if len(names) <= 60 else None, col=1)
        return Panel(_caption(sweep), figure_, height=150 + min(1200, 20 * len(trials)), width=320 * len(units))


def reserved(config: SweepConfig) -> dict[str, float]:
    """Return how much one trial holds while it trains, of CPUs, GPUs and more, by what its use is counted in."""
    held = {"CPU": config.cpus, "GPU": config.gpus, **config.resources}
    return {f"{name} seconds": config.workers * amount for name, amount in held.items()}


def _cost(seconds: float, sweep: SweepRecord) -> str:
    return ", ".join(f"{seconds * each:,.1f} {unit}" for unit, each in reserved(sweep.config).items() if each)


def _caption(sweep: SweepRecord) -> str:
    total = sum(trial.seconds for trial in sweep.trials)
    lead = f"All trials together: {_cost(total, sweep)} reserved, {duration(total)} of training."
    if sweep.seconds is None:
        return f"{lead} The sweep is not finished."
    slots = min(sweep.config.concurrent, len(sweep.trials))
    share = total / (sweep.seconds * slots) if sweep.seconds else 0.0
    return (
        f"{lead} The sweep took {duration(sweep.seconds)} from start to end, at most {slots} at once: {share:.0%} of"
        " that room was spent in trials; the rest is start-up, gaps and the last trial alone."
    )
