"""Picture: the winner beside its rivals on the test window, as ``foveate compare`` found it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from foveate_tune.report.base import Column, Panel, Picture, Table
from foveate_tune.report.drawing import GOOD, QUIET, WINNER, figure
from foveate_tune.report.record import SweepRecord

_COLOURS = {"better": GOOD, "worse": WINNER}


class Verdict(Picture):
    """How far the winner lies above each rival, with its interval; nothing where no comparison was made."""

    name: ClassVar[str] = "verdict"
    title: ClassVar[str] = "Verdict"
    place: ClassVar[int] = 15

    def draw(self, sweep: SweepRecord) -> Panel | None:
        """Draw a line for each rival, and say what each came to."""
        verdict = sweep.verdict
        if verdict is None:
            return None
        compared = list(reversed(verdict["comparisons"]))
        figure_ = figure(margin={"l": 16, "r": 16, "t": 16, "b": 56}, showlegend=False)
        figure_.add_vline(x=0, line={"width": 1, "color": QUIET})
        for one in compared:
            gain, colour = one["difference"], _COLOURS.get(one["verdict"], QUIET)
            figure_.add_scatter(
                x=[gain["mean"]],
                y=[one["against"]],
                mode="markers",
                marker={"size": 10, "color": colour},
                error_x={
                    "array": [gain["high"] - gain["mean"]],
                    "arrayminus": [gain["mean"] - gain["low"]],
                    "color": colour,
                    "thickness": 2,
                },
                hovertext=[f"{one['verdict']}: {_gain(one)}"],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        figure_.update_xaxes(title={"text": f"gain in {verdict['metric']} over the rival (test)"})
        figure_.update_yaxes(type="category", automargin=True)
        return Panel(_caption(verdict), figure_, _table(verdict), height=110 + 50 * len(compared))


def _table(verdict: Mapping[str, Any]) -> Table:
    columns = [
        Column("encoder"),
        Column(f"{verdict['metric']}, test", ".4f"),
        Column("low", ".4f"),
        Column("high", ".4f"),
        *(Column(f"seed {seed}", ".4f") for seed in verdict["seeds"]),
        Column("epochs", "d"),
        Column("epochs of its search", "d"),
        Column("how it was chosen"),
    ]
    rows = [
        [
            one["name"],
            *(one["mean"][name] for name in ("mean", "low", "high")),
            *one["by_seed"],
            one["epochs"],
            one["searched_epochs"],
            one["chosen"],
        ]
        for one in verdict["contenders"]
    ]
    return Table(columns, rows, marked=0)


def _caption(verdict: Mapping[str, Any]) -> str:
    results = "; ".join(f"{_verdict(one)}: {_gain(one)}" for one in verdict["comparisons"])
    trained = f"each trained {len(verdict['seeds'])} times on all that lies before the test window"
    return (
        f"{verdict['trial']} is {results}. {verdict['viewers']:,} viewers of the test window, {trained}. Rule:"
        f" {verdict['rule']}."
    )


def _verdict(one: Mapping[str, Any]) -> str:
    than = "from" if one["verdict"] == "not distinguishable" else "than"
    return f"{one['verdict']} {than} {one['against']}"


def _gain(one: Mapping[str, Any]) -> str:
    gain = one["difference"]
    return f"{gain['mean']:+.4f} (95 % interval {gain['low']:+.4f} to {gain['high']:+.4f}), p {one['p']:.3f}"
