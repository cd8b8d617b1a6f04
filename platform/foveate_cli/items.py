"""``foveate items``: put items into the catalogue of what serves, or withdraw some."""

from __future__ import annotations

import json
from pathlib import Path

import click

from foveate_cli.common import out

_AT_ONCE = 1_000
"""Items of one write."""


@click.group(short_help="Put items into the catalogue of what serves, or withdraw some.")
def command() -> None:
    """Change the catalogue while it serves: replicas take a change up within 2 seconds, whatever bundle they hold.

    STATE is what viewers' state is called: a path such as runs/bundle.state.sqlite, or an address such as
    redis://store:6379/0. Changes outlive the bundle; an item that a newer bundle holds is put over it.
    """


@command.command("put", short_help="Add or replace the items of a table.")
@click.argument("place", metavar="STATE")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("overrides", metavar="[OPTION=VALUE]...", nargs=-1)
def put(*, place: str, file: Path, overrides: tuple[str, ...]) -> None:
    """Add the items of FILE, a table such as items.csv or items.parquet, to the catalogue, or replace them there.

    \b
    foveate items put runs/bundle.state.sqlite new.csv
    foveate items put redis://store:6379/0 new.jsonl columns.item_id=video

    Columns are found as 'foveate data import' finds those of a table of items, and named likewise. What a column does
    not hold is not known: an item is replaced as a whole. An item that no history holds is found by what is known of
    it.
    """  # noqa: D301 - click reads the mark as the sign that it is
    from foveate.core.config import from_dict  # noqa: PLC0415 - polars costs time that --help is spared
    from foveate.core.grouped import in_parts  # noqa: PLC0415
    from foveate.core.overrides import apply_overrides  # noqa: PLC0415
    from foveate.data.readers.table import TableReader  # noqa: PLC0415
    from foveate.state.connect import open_items, unhurried  # noqa: PLC0415
    from foveate.state.overlay import items_of  # noqa: PLC0415

    reader = from_dict(TableReader, apply_overrides({}, overrides, TableReader))
    table = reader.read_items(file)
    with open_items(unhurried(place), create=False) as store:
        version = max((store.put(part) for part in in_parts(items_of(table.frame), _AT_ONCE)), default=store.version())
    for column in table.ignored:
        out.print(f"ignored  column '{column}'", markup=False)
    out.print(f"put      {table.frame.height:,} items; the catalogue is of version {version}", markup=False)


@command.command("withdraw", short_help="Withdraw items: they are in no slate any more.")
@click.argument("place", metavar="STATE")
@click.argument("item_ids", metavar="ITEM...", nargs=-1, required=True)
def withdraw(*, place: str, item_ids: tuple[str, ...]) -> None:
    """Withdraw each ITEM. Putting one again brings it back."""
    from foveate.state.connect import open_items, unhurried  # noqa: PLC0415 - as above

    with open_items(unhurried(place), create=False) as store:
        version = store.withdraw(item_ids)
    out.print(f"withdrew {len(item_ids):,} items; the catalogue is of version {version}", markup=False)


@command.command("list", short_help="Print what has changed, one JSON object a line.")
@click.argument("place", metavar="STATE")
def listed(*, place: str) -> None:
    """Print every item that was put or withdrawn, one JSON object a line, in the order in which they first came."""
    from foveate.state.connect import open_items, unhurried  # noqa: PLC0415 - as above

    with open_items(unhurried(place), create=False) as store:
        for item in store.changes(0):
            row = {"item_id": item.item_id, "withdrawn": item.withdrawn, "version": item.version, **item.facts}
            click.echo(json.dumps(row, ensure_ascii=False))
