"""``foveate state``: viewers' histories and impressions, moved from one store to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveate_cli.common import json_option, out, telling, write_json

if TYPE_CHECKING:
    from foveate.state.copying import Copied


@click.group(short_help="Viewers' state: move it, or back it up.")
def command() -> None:
    """Move or back up what viewers did and were shown, in a file or on a Redis server that machines share.

    A place is a path, such as runs/bundle.state.sqlite, or an address redis://[USER[:PASSWORD]@]HOST[:PORT][/DB], or
    rediss:// for TLS. Settings of a server follow a question mark, such as
    redis://store:6379/0?history=1000&impressions_days=3: history (most events of a viewer, 2000), past (events kept
    beyond, for replays, 500), impressions_days (7), timeout_s (0.25), prefix (of all keys, foveate), password_file,
    ca_certs. Give all programs that use one server the same settings.
    """


@command.command("copy", short_help="Copy all of a store into another one.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--histories-only", is_flag=True, help="Leave out what viewers were shown and where bundles lay.")
@json_option
def copy(*, source: str, target: str, histories_only: bool, json_path: Path | None) -> None:
    """Copy all histories, impressions and bundles' places of FROM into TO; FROM stays as it is.

    \b
    foveate state copy runs/bundle.state.sqlite redis://store:6379/0    # histories onto a server
    foveate state copy redis://store:6379/0 backup.sqlite               # a backup; the other way puts it back

    FROM may serve meanwhile. What TO holds already stays, and a copy that broke off is begun again: no event is
    there twice. Events keep their versions, so that replays find the histories as they were.
    """  # noqa: D301 - click reads the mark as the sign that it is
    from foveate.state.copying import copy_state  # noqa: PLC0415 - numpy costs time that --help is spared

    with telling() as say:
        copied = copy_state(
            source, target, impressions=not histories_only, progress=lambda so_far: say(f"copied {_told(so_far)}")
        )
    out.print(f"copied {_told(copied)}; {copied.new_events:,} of the events are new there", markup=False)
    payload = {"events": copied.events, "new_events": copied.new_events, "requests": copied.requests}
    write_json(json_path, payload)


def _told(copied: Copied) -> str:
    return f"{copied.events:,} events and {copied.requests:,} served requests"
