"""``foveate log``: what was served, exported as data."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from foveate.core.errors import RequestError
from foveate_cli.common import json_option, out, state_option, telling, write_json


@click.group(short_help="What was served: export it as data.")
def command() -> None:
    """Export what was shown and what followed, from the store that serves, to train from it.

    docs/served-log.md has the files, what joins events to showings, and what clocks and late events do.
    """


@command.command("export", short_help="Add what is new to a served log.")
@state_option("The store that serves; it may serve meanwhile.", required=True)
@click.option(
    "--out",
    "target",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    required=True,
    help="The served log; it is made where it is absent.",
)
@click.option("--since", metavar="TIME", help="Pass over what the store took before, such as 2026-03-17T18:00Z.")
@click.option(
    "--pseudonyms",
    metavar="KEYFILE",
    type=click.Path(path_type=Path),
    help="Replace viewers' ids by keyed digests, and leave out comments; the same key is needed every time.",
)
@json_option
def export(*, state: str, target: Path, since: str | None, pseudonyms: Path | None, json_path: Path | None) -> None:
    """Add to the folder what is new in the store: dated Parquet parts of impressions and events, each row once.

    \b
    foveate log export --state runs/registry/state.sqlite --out served-log
    foveate data append data served served-log

    A run that is killed is begun again: nothing is lost, and nothing is there twice. The store keeps what the folder
    does not have yet, however old it is, until 'foveate log drop'.
    """  # noqa: D301 - click reads the mark as the sign that it is
    from foveate.core.config import to_dict  # noqa: PLC0415 - numpy costs time that --help is spared
    from foveate.served_log.export import export_log  # noqa: PLC0415

    with telling() as say:
        found = export_log(
            state, target, since=None if since is None else _micros(since), pseudonyms=pseudonyms, progress=say
        )
    write_json(json_path, to_dict(found))
    out.print(str(found), markup=False)
    if found.erasures:
        out.print(f"followed {found.erasures:,} erasures", markup=False)


@command.command("list", short_help="List the exports that a store knows of.")
@state_option("The store.", required=True)
@json_option
def list_(*, state: str, json_path: Path | None) -> None:
    """List the exports of a store, each with its folder: what they have not read is not dropped."""
    from foveate.core.config import to_dict  # noqa: PLC0415 - as above
    from foveate.state.connect import open_viewers, unhurried  # noqa: PLC0415

    with open_viewers(unhurried(state), create=False) as viewers:
        found = list(viewers.exports())
    write_json(json_path, to_dict(found))
    for one in found:
        out.print(f"{one.name}  {one.folder}", markup=False)


@command.command("drop", short_help="Have a store forget an export.")
@state_option("The store.", required=True)
@click.argument("name", metavar="NAME")
def drop(*, state: str, name: str) -> None:
    """Have a store forget the export NAME of 'foveate log list': it holds nothing back any more.

    Erasures do not reach its folder from then on: remove it, or see to that yourself.
    """
    from foveate.state.connect import open_viewers, unhurried  # noqa: PLC0415 - as above

    with open_viewers(unhurried(state), create=False) as viewers:
        viewers.drop_export(name)
    out.print(f"dropped  {name}", markup=False)


def _micros(moment: str) -> int:
    try:
        found = datetime.fromisoformat(moment)
    except ValueError as error:
        raise RequestError(f"--since '{moment}' is not a time such as 2026-03-17T18:00Z") from error
    if found.tzinfo is None:
        raise RequestError(f"--since '{moment}' names no time zone: add one, such as {moment}Z")
    return round((found - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)
