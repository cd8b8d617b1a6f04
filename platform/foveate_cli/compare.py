"""``foveate compare``: whether a sweep's winner is really better than its rivals."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from foveate_cli.common import json_option, out, reads, telling, write_json

if TYPE_CHECKING:
    from foveate.evaluation.paired import Paired
    from foveate_tune.results.verdict import VerdictReport


@click.command(short_help="Test whether a sweep's winner is better.")
@click.argument("sweep")
@reads("--data", "dataset", "Dataset folder.")
@click.option(
    "--against",
    multiple=True,
    default=("default",),
    show_default=True,
    help="A rival: default (the shipped encoder), another finished sweep, or a recipe file. May be repeated.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Trainings of each.")
@click.option("--pick", help="Which trial of the sweep: best, knee, or its name or number. [default: the winner]")
@json_option
def command(
    *, sweep: str, data: Path, against: tuple[str, ...], seeds: int, pick: str | None, json_path: Path | None
) -> None:
    """Train the winner of SWEEP and its rivals with several seeds each, and compare them on the test's window.

    Each learns from all that lies before the window; all rank the whole catalogue for the same viewers. A paired
    bootstrap over viewers, widened by what differs between seeds, says whether the winner is better, worse or not
    distinguishable; it is kept in the sweep's folder as verdict.json.

    The window is opened for this: settings that are changed after reading it are no longer chosen on validation alone.
    """
    from foveate_tune.results.verdict import compare_sweep  # noqa: PLC0415 - torch costs seconds that --help is spared

    with telling() as say:
        report = compare_sweep(sweep, data, against, seeds=seeds, pick=pick, say=say)
    show(report)
    write_json(json_path, report.to_json())


def show(report: VerdictReport) -> None:
    """Print what each came to, and what the winner is against each rival."""
    from foveate_tune.results.verdict import only_epochs_differ  # noqa: PLC0415 - as above

    shown = report.to_json()
    facts = f"{shown['data']['title']}\n{shown['protocol']}, test window, {shown['viewers']:,} viewers"
    title = f"{facts} · seeds {', '.join(map(str, report.seeds))}"
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    # A recipe's path takes a second line where there is little room.
    table.add_column("encoder", overflow="fold")
    for name in (shown["metric"], "by seed", "epochs", "searched"):
        table.add_column(name, justify="right", no_wrap=name != "by seed")
    for standing in report.standings:
        contender, mean = standing.contender, standing.mean
        searched = "-" if contender.searched_epochs is None else f"{contender.searched_epochs:,}"
        table.add_row(
            escape(contender.name),
            f"{mean.mean:.4f}\n[dim]{mean.low:.4f}-{mean.high:.4f}[/dim]",
            " ".join(f"{value:.4f}" for value in standing.by_seed),
            str(contender.source.train.epochs),
            searched,
        )
    out.print(table)
    for standing, result in zip(report.standings[1:], report.comparisons, strict=True):
        rival = standing.contender
        if result.verdict == "no verdict":
            _say(f"one seed gives no verdict of {report.trial} and {rival.name}: {_figures(result)}")
        else:
            than = "from" if result.verdict == "not distinguishable" else "than"
            _say(f"{report.trial} is {result.verdict} {than} {rival.name}: {_figures(result)}")
        if only_epochs_differ(report.standings[0].contender, rival):
            _say(f"{report.trial} is {rival.name} but for its epochs")
    _say(f"by {shown['rule']}")


def _figures(result: Paired) -> str:
    gain, share = result.difference.absolute, result.difference.percent
    seen = result.difference.detectable_percent
    least = f"; a difference of {seen:.1f} % would have been seen in 80 of 100 cases" if isfinite(seen) else ""
    return f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}), {share.mean:+.1f} %, p {result.p:.3f}{least}"


def _say(line: str) -> None:
    # Sentences are wrapped between words.
    out.print(line, markup=False, soft_wrap=False)
