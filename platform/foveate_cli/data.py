"""``foveate data``: import a raw log, simulate one, and say what a dataset holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from foveate.core.config import load_yaml, to_dict
from foveate.core.errors import ConfigError, UnknownColumnsError
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.describe import Description, describe
from foveate.data.importing.report import ImportReport
from foveate.data.readers.base import Reader
from foveate.data.readers.detect import find_reader
from foveate.data.readers.table import TableReader
from foveate.storage.transfer import is_address, new_folder
from foveate_cli.common import LocalPath, config_options, json_option, makes, out, read_config, working, write_json

if TYPE_CHECKING:
    import polars as pl


@click.group(short_help="Import, simulate or describe a watch log.")
def command() -> None:
    """Import a raw watch log, simulate one, or say what a dataset holds."""


@command.command("import", short_help="Clean a raw log and write a dataset.")
@click.argument("words", nargs=-1, required=True, metavar="[READER] PATH [KEY=VALUE]...")
@click.option(
    "--out", metavar="FOLDER_OR_ADDRESS", help="Dataset folder to make, or its address; nothing may be there."
)
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of settings; an unknown key is an error.")
@click.option("--dry-run", is_flag=True, help="Show the first rows as they would be stored; write nothing.")
@json_option
def import_(
    *, words: tuple[str, ...], out: str | None, config: Path | None, dry_run: bool, json_path: Path | None
) -> None:
    """Clean the raw log at PATH and write it as a dataset.

    PATH is a file or a folder, packed or not, or an address such as s3://BUCKET/LOGS. Without READER the one that
    fits is taken, and columns are found by what people call them: what was guessed is shown, and KEY=VALUE overrules
    it, such as columns.user_id=customer. 'foveate variants readers' lists the readers and their settings.
    """
    from foveate.data.importing.import_dataset import import_dataset  # noqa: PLC0415 - other verbs start faster without it
    from foveate.data.raw.files import plain_files  # noqa: PLC0415

    reader, path, overrides = _words(words)
    if out is None and not dry_run:
        raise ConfigError("--out is missing: name the dataset folder to make, or look first with --dry-run")
    with plain_files(path) as plain:
        settings = read_config(_reader(reader, plain, config, overrides), config, overrides)
        if dry_run:
            _preview(settings, plain, json_path)
            return
        with new_folder(str(out)) as place:
            with working(f"importing {path}") as advance:
                dataset = import_dataset(settings, plain, place, _err(advance))
            _report(dataset, json_path, out)


@command.command("append", short_help="Add to a dataset what is new in a log.")
@click.argument("data", metavar="DATASET")
@click.argument("words", nargs=-1, required=True, metavar="[READER] PATH [KEY=VALUE]...")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of settings; an unknown key is an error.")
@json_option
def append_(*, data: str, words: tuple[str, ...], config: Path | None, json_path: Path | None) -> None:
    """Add to the dataset folder DATASET what is new in the log at PATH; an absent one is made.

    \b
    foveate data append data served served-log

    Old parts stay as they are, and only what is new is cleaned. What is there already is known by its ids or, in a log
    that has none, by viewer, item, kind and time. Where 'foveate state erase' has taken a viewer out of a served log,
    the parts that were made of it are made anew.
    """  # noqa: D301 - click reads the mark as the sign that it is
    from foveate.data.importing.append import append_dataset  # noqa: PLC0415 - as above
    from foveate.data.raw.files import plain_files  # noqa: PLC0415

    if is_address(data):
        raise ConfigError(f"'{data}' is an address: a dataset grows where it lies on a disk")
    reader, path, overrides = _words(words)
    with plain_files(path) as plain:
        settings = read_config(_reader(reader, plain, config, overrides), config, overrides)
        with working(f"reading {path}") as advance:
            dataset = append_dataset(settings, plain, Path(data), _err(advance))
    _report(dataset, json_path, data)


@command.command("items", short_help="Replace what a dataset knows of its items.")
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("path")
@config_options
@json_option
def items_(*, data: Path, path: str, config: Path | None, overrides: tuple[str, ...], json_path: Path | None) -> None:
    """Put the table of items at PATH in place of that of the dataset folder DATA; the log stays as it is.

    Columns are found by what people call them; item_columns.title=THEIRS and the like overrule that.
    """
    from foveate.data.importing.items import replace_items  # noqa: PLC0415 - as above

    _report(replace_items(open_dataset(data), path, read_config(TableReader, config, overrides)), json_path)


def _words(words: Sequence[str]) -> tuple[str | None, str, tuple[str, ...]]:
    """Tell the reader, where one is named, from the path and the settings behind it."""
    first, *rest = words
    named = first in Reader.variants and bool(rest) and ("=" not in rest[0] or Path(rest[0]).exists())
    if named:
        return first, rest[0], tuple(rest[1:])
    if rest and "=" not in rest[0] and not (is_address(first) or Path(first).exists()):
        # Two words that are no settings: the first must have been meant for a reader.
        return Reader.variants[first].name, rest[0], tuple(rest[1:])
    return None, first, tuple(rest)


def _reader(name: str | None, path: Path, config: Path | None, overrides: Sequence[str]) -> type[Reader]:
    if name is not None:
        return Reader.variants[name]
    keys = [*(load_yaml(config) if config else ()), *(word.partition("=")[0] for word in overrides)]
    return find_reader(path, {str(key).partition(".")[0] for key in keys})


@command.command(short_help="Simulate a world of viewers and videos.")
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
    """Simulate a world of viewers and videos, and write what they did as a dataset that says it is simulated."""
    from foveate.data.world.config import SimulateConfig  # noqa: PLC0415 - as above
    from foveate.data.world.simulate import simulate_dataset  # noqa: PLC0415

    named = {"viewers": viewers, "items": items, "days": days, "seed": seed}
    options = tuple(f"{name}={value}" for name, value in named.items() if value is not None)
    settings = read_config(SimulateConfig, config, (*overrides, *options))
    with new_folder(out) as place:
        with working("simulating", settings.viewers) as advance:
            dataset = simulate_dataset(settings, place, advance)
        _report(dataset, json_path, out)


@command.command("describe", short_help="Say what a dataset holds.")
@click.argument("data", type=LocalPath("dataset"))
@json_option
def describe_(data: Path, json_path: Path | None) -> None:
    """Say what the dataset folder DATA holds, and what cleaning did to it."""
    _report(open_dataset(data), json_path)


def _err(advance: Callable[[str, int], None]) -> Callable[[str], None]:
    return lambda note: advance(note, 0)


def _report(dataset: Dataset, json_path: Path | None, place: str | None = None) -> None:
    found = describe(dataset)
    write_json(json_path, {**to_dict(found), "path": place or str(dataset.path)})
    _print(found, out)


def _print(found: Description, console: Console) -> None:
    console.print(found.title, markup=False, style="bold")
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, text in _facts(found):
        table.add_row(name, text)
    console.print(table)
    if found.source is not None:
        show_source(found.source, console)
    if any(report.dropped or report.mended for report in found.cleaning):
        console.print(_cleaning(found))
    for report in found.cleaning:
        for example in report.examples:
            console.print(f"  {report.table}: {example}", markup=False)


def _preview(reader: Reader, path: Path, json_path: Path | None) -> None:
    from foveate.data.importing.import_dataset import preview  # noqa: PLC0415 - as above

    try:
        found = preview(reader, path)
    except UnknownColumnsError as error:
        show_unknown(error, out)
        raise
    events = found.events.select("user_id", "item_id", "kind", "value", "occurred_at").head(5)
    items = found.items.select("item_id", "title", "categories", "channel_id", "published_at").head(5)
    rows = {"events": _texts(events), "items": _texts(items)}
    write_json(json_path, {"reader": reader.name, "source": to_dict(found.report), **rows})
    out.print(f"reader {reader.name}; nothing is written", markup=False, style="bold")
    show_source(found.report, out)
    for name, lines in rows.items():
        if lines and set(lines[0]) == {"item_id"}:
            continue
        table = Table(*(lines[0] if lines else ()), title=f"first {name}", title_justify="left")
        for line in lines:
            table.add_row(*map(escape, line.values()))
        out.print(table)


def _texts(frame: pl.DataFrame) -> list[dict[str, str]]:
    """Return rows as people read them, without the columns that hold nothing."""
    full = [name for name in frame.columns if frame[name].null_count() < frame.height]
    return [
        {
            name: ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
            for name, value in row.items()
        }
        for row in frame.select(full).to_dicts()
    ]


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
        ("shortcuts", _shortcuts(found)),
    ]


def _shortcuts(found: Description) -> str:
    shares = [
        (found.repeated, "of interest repeats a pair"),
        (found.tied, "share a time with another of their viewer"),
        (found.predictable, "of viewers' newest items are among the ten that most often followed the one before"),
        (found.popular, "of the last week's interest is in the hundred most popular items of the week before"),
    ]
    known = ", ".join(f"{share:.1%} {what}" for share, what in shares if share is not None)
    return f"{known}; 'foveate audit --shortcuts DATA' asks for more"


def _cleaning(found: Description) -> Table:
    table = Table("step", "table", "dropped", "mended", title="cleaning", title_justify="left")
    for report in found.cleaning:
        if report.table == "log" or report.dropped or report.mended:
            table.add_row(report.step, report.table, f"{report.dropped:,}", f"{report.mended:,}")
    return table


def _moment(time: int | None) -> str:
    return datetime.fromtimestamp((time or 0) / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


_FEW = 12
"""So many names of ignored columns and skipped files are shown."""


def show_source(report: ImportReport, console: Console) -> None:
    """Print which files were read as what, which columns became ours, and what was left out."""
    for file in report.files[:_FEW]:
        console.print(f"read     {file.file}: {file.about}, {file.rows:,} rows", markup=False)
    if len(report.files) > _FEW:
        console.print(f"read     and {len(report.files) - _FEW:,} more files", markup=False)
    for table in ("log", "items"):
        _show_columns(report, table, console)
    for table, names in (report.ignored or {}).items():
        console.print(f"ignored  columns of the {table}: {_some(names)}", markup=False)
    if report.skipped:
        console.print(f"skipped  {_some([f'{one.file} ({one.why})' for one in report.skipped])}", markup=False)
    if report.described_items or report.unmet_items:
        console.print(
            f"joined   {report.described_items:,} of the log's {report.log_items:,} items are described; "
            f"{report.unmet_items:,} described items are not in the log",
            markup=False,
        )
    for note in report.notes:
        console.print(f"note     {note}", markup=False)
    if report.bad_rows:
        console.print(f"left out {report.bad_rows:,} rows that cannot be read:", markup=False, style="yellow")
        for example in report.bad_examples:
            console.print(f"         {example}", markup=False)
    for warning in (*report.warnings, *report.item_warnings):
        console.print(f"warning  {warning}", markup=False, style="yellow")


def show_unknown(error: UnknownColumnsError, console: Console) -> None:
    """Print the columns of a log that has no known viewers or items, with what each is taken for."""
    shown = Table("their column", "holds, for example", "read as", "known by", box=None, pad_edge=False)
    for row in error.columns:
        shown.add_row(*map(escape, row))
    console.print(f"columns  of {error.table}", markup=False)
    console.print(shown)


def _show_columns(report: ImportReport, table: str, console: Console) -> None:
    columns = [column for column in report.columns if column.table == table]
    if not columns:
        return
    shown = Table(table, "their column", "known by", "read as", "full", box=None, pad_edge=False)
    for column in columns:
        full = f"{column.filled:.0%}" if column.filled in (0, 1) else f"{column.filled:.1%}"
        shown.add_row(*map(escape, (column.ours, column.theirs, column.how, column.about, full)))
    console.print(shown)


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _FEW:,} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more
