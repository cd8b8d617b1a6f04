"""``foveate report``: a sweep as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from foveate_cli.common import out as output


@click.command(short_help="Show a sweep as one HTML page.")
@click.argument("sweep", metavar="SWEEP")
@click.option("--out", type=click.Path(path_type=Path), help="File to write. [default: SWEEP/report.html]")
def command(*, sweep: str, out: Path | None) -> None:
    """Write leaderboard, learning curves, importances, Pareto front and cost of a sweep as one HTML file.

    SWEEP is its folder or its address on a store. The page needs no network. The sweep may still run: the page says
    so, and shows what there is.
    """
    from foveate_tune.report.page import write_report  # noqa: PLC0415 - Ray starts slowly

    output.print(f"report  {write_report(sweep, out)}", markup=False)
