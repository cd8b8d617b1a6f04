"""``foveate data``: import a raw log, simulate one, and say what a dataset holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from foveate.config import to_dict
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.describe import Description, describe
from foveate.data.readers.base import Reader
from foveate.stored import making
from foveate_cli.common import Brought, config_options, json_option, makes, out, read_config, working, write_json


@click.group(short_help="Import, simulate or describe a watch log.")
def command() -> None:
    """Import a raw watch log, simulate one, or say what a dataset holds."""


@command.command("import", short_help="Clean a raw log and write a dataset.")
@click.argument("reader")
@click.argument("path", type=click.Path(path_type=Path))
@makes("Dataset folder to make, or its address; it must not hold anything yet.")
@config_options
@json_option
def import_(
    *, reader: str, path: Path, out: str, config: Path | None, overrides: tuple[str, ...], json_path: Path | None
) -> None:
    """Clean the raw log at PATH with READER (see 'foveate variants reader') and write it as a dataset."""
    from foveate.data.ingest import import_dataset  # noqa: PLC0415 - other verbs start faster without it

    settings = read_config(Reader.variants[reader], config, overrides)
    with making(out) as place:
        with working(f"importing {path}") as advance:
            dataset = import_dataset(settings, path, place, _news(advance))
        _report(dataset, json_path, out)


@command.command(short_help="Make up a world of viewers and videos.")
@makes("Dataset folder to make, or its address; it must not hold anything yet.")
@click.option("--viewers", type=click.IntRange(min=2), help="How many viewers.")
@click.option("--items", type=click.IntRange(min=2), help="How many videos.")
@click.option("--days", type=click.IntRange(min=1), help="How many days they watch.")
@click.option("--seed", type=int, help="The same seed makes the same world.")
@config_options
@json_option
def simulate(
    *,
    out: str,
    viewers: int | None,
    items: int | None,
    days: int | None,
    seed: int | None,
    config: Path | None,
    overrides: tuple[str, ...],
    json_path: Path | None,
) -> None:
    """Make up a world of viewers and videos, and write what they did as a dataset that says it is simulated."""
    from foveate.data.simulate.config import SimulateConfig  # noqa: PLC0415 - as above
    from foveate.data.simulate.world import simulate_dataset  # noqa: PLC0415

    named = {"viewers": viewers, "items": items, "days": days, "seed": seed}
    options = tuple(f"{name}={value}" for name, value in named.items() if value is not None)
    settings = read_config(SimulateConfig, config, (*overrides, *options))
    with making(out) as place:
        with working("simulating", settings.viewers) as advance:
            dataset = simulate_dataset(settings, place, advance)
        _report(dataset, json_path, out)


@command.command("describe", short_help="Say what a dataset holds.")
@click.argument("data", type=Brought("dataset"))
@json_option
def describe_(data: Path, json_path: Path | None) -> None:
    """Say what the dataset folder DATA holds, and what cleaning did to it."""
    _report(open_dataset(data), json_path)


def _news(advance: Callable[[str, int], None]) -> Callable[[str], None]:
    return lambda note: advance(note, 0)


def _report(dataset: Dataset, json_path: Path | None, place: str | None = None) -> None:
    found = describe(dataset)
    write_json(json_path, {**to_dict(found), "path": place or str(dataset.path)})
    _print(found, out)


def _print(found: Description, console: Console) -> None:
    console.print(found.title, markup=False, style="bold")
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, told in _facts(found):
        table.add_row(name, told)
    console.print(table)
    if any(report.dropped or report.mended for report in found.cleaning):
        console.print(_cleaning(found))
    for report in found.cleaning:
        for example in report.examples:
            console.print(f"  {report.table}: {example}", markup=False)


def _facts(found: Description) -> list[tuple[str, str]]:
    rows = found.rows
    return [
        ("viewers", f"{rows['viewers']:,}, {found.active_viewers:,} with events"),
        ("items", f"{rows['items']:,}, {found.met_items:,} met"),
        ("impressions", f"{rows['impressions']:,}"),
        ("events", f"{rows['events']:,}, {found.undated:,} without a time"),
        ("kinds", ", ".join(f"{kind} {count:,}" for kind, count in found.kinds.items())),
        ("interest", ", ".join(found.positive_kinds)),
        ("time", f"{_moment(found.first)} to {_moment(found.last)}" if found.first is not None else "order only"),
        ("sparsity", f"{found.sparsity:.4%} of viewer-item pairs never met"),
    ]


def _cleaning(found: Description) -> Table:
    table = Table("step", "table", "dropped", "mended", title="cleaning", title_justify="left")
    for report in found.cleaning:
        if report.table == "log" or report.dropped or report.mended:
            table.add_row(report.step, report.table, f"{report.dropped:,}", f"{report.mended:,}")
    return table


def _moment(time: int | None) -> str:
    return datetime.fromtimestamp((time or 0) / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
