"""``foveate plan``: replicas, memory, GPUs and cost a month of a load, from costs that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from foveate.core.errors import ConfigError
from foveate_cli.common import json_option, out, seed_option, telling, write_json

if TYPE_CHECKING:
    from foveate_capacity.costs import Costs
    from foveate_capacity.queueing import Line

_SMALL, _LARGE = 0.01, 1000


@click.command(short_help="Replicas, memory, GPUs and cost of a load.")
@click.option("--qps", type=click.FloatRange(0, min_open=True), required=True, help="Requests a second.")
@click.option("--items", type=click.IntRange(1), required=True, help="Videos of the catalogue.")
@click.option("--viewers", type=click.IntRange(0), required=True, help="Viewers whose histories are kept.")
@click.option("--gpu", metavar="KIND", default="", help="Score all videos on GPUs of this kind of the price table.")
@click.option("--costs", type=click.Path(path_type=Path), help="File of measured costs; with --bundle it is written.")
@click.option(
    "--bundle",
    "bundles",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Measure this bundle now, here; give one of another size too, and how costs grow is measured.",
)
@click.option("--prices", type=click.Path(path_type=Path), help="Your own price table in place of Foveate's.")
@click.option(
    "--utilisation",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.6,
    show_default=True,
    help="Share of what a replica can do that it is to do at most, with one node lost.",
)
@click.option("--deadline-ms", type=click.IntRange(1), default=2000, show_default=True, help="Time a request has.")
@click.option("--simulate", "simulated", is_flag=True, help="Try a node of the plan in the simulator as well.")
@seed_option("Of the simulator.", default=0)
@json_option
def command(
    *,
    qps: float,
    items: int,
    viewers: int,
    gpu: str,
    costs: Path | None,
    bundles: Sequence[Path],
    prices: Path | None,
    utilisation: float,
    deadline_ms: int,
    simulated: bool,
    seed: int,
    json_path: Path | None,
) -> None:
    """Plan the machines for a load, and say of each figure whether it was measured, simulated or calculated.

    What a request costs is measured on one machine: the stages on one core, the rest on a server that is started for
    it, which takes a few minutes and a machine with nothing else to do. The rest follows from it, and from a table of
    assumed prices.

    \b
    Measure once, then plan:
      foveate plan --bundle runs/bundle --costs runs/costs.json --qps 100 --items 10000 --viewers 1000000
      foveate plan --costs runs/costs.json --qps 2000 --items 1000000 --viewers 50000000 --gpu l4 --simulate
    """  # noqa: D301 - click reads the mark as the sign that it is
    from foveate_capacity.plan import plan  # noqa: PLC0415
    from foveate_capacity.prices import read_prices  # noqa: PLC0415
    from foveate_capacity.queueing import Load  # noqa: PLC0415 - brings torch and Ray along

    load = Load(qps, items, viewers, gpu, utilisation, deadline_ms / 1e3)
    table = read_prices(prices)
    if gpu:
        table.gpu(gpu)
    measured = _costs(costs, bundles)
    made = plan(load, measured, table)
    rows = made.rows
    if simulated:
        from foveate_capacity.simulated import simulated_rows  # noqa: PLC0415

        rows = (*rows, *simulated_rows(made, measured, seed))
    _print(rows, made.notes)
    write_json(json_path, {"load": vars(load), **made.to_json(), "lines": [vars(line) for line in rows]})


def _costs(path: Path | None, bundles: Sequence[Path]) -> Costs:
    from foveate_capacity.costs import read_costs, write_costs  # noqa: PLC0415

    if not bundles:
        if path is None:
            raise ConfigError("a plan needs measured costs: --costs FILE, or --bundle BUNDLE to measure them now")
        return read_costs(path)
    from foveate_capacity.measure import measure  # noqa: PLC0415

    with telling() as say:
        found = measure(bundles, progress=say)
    if path is not None:
        write_costs(found, path)
        out.print(f"costs: {path}", markup=False)
    return found


def _print(rows: Sequence[Line], notes: Sequence[str]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold", max_width=26)
    table.add_column(justify="right", no_wrap=True)
    for _ in range(2):
        table.add_column(overflow="fold")
    for about, some in groupby(rows, key=lambda line: line.about):
        table.add_row(escape(about), style="bold")
        for line in some:
            texts = (f"  {line.what}", _figure(line.value), line.unit, ", ".join(filter(None, (line.how, line.why))))
            table.add_row(*map(escape, texts))
    out.print(table)
    for note in notes:
        out.print(note, markup=False)


def _figure(value: float) -> str:
    if isfinite(value) and (value == int(value) or abs(value) >= _LARGE):
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= _SMALL else f"{value:.2g}"
