"""``foveate state``: viewers' histories and impressions, copied, backed up, put back and erased."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveate_cli.common import hanging, json_option, out, telling, write_json

if TYPE_CHECKING:
    from foveate.state.copying import Copied


@click.group(short_help="Viewers' state: copy it, back it up, restore it, erase a viewer.")
def command() -> None:
    """Copy, back up, restore or erase what viewers did and were shown, in a file or on a Redis server of many machines.

    A place is a path, such as runs/bundle.state.sqlite, or an address redis://[USER[:PASSWORD]@]HOST[:PORT][/DB], or
    rediss:// for TLS. Settings follow a question mark, such as redis://store:6379/0?history=1000&impressions_days=3, or
    sqlite:///PATH?history=1000 for a file: history (most events of a viewer, 2000), past (events kept beyond, for
    replays, 500), impressions_days (7), events_days (0: for ever).

    \b
    Of a server:  timeout_s (0.25), prefix (of all keys, foveate), password_file, ca_certs
    Of a file:    synchronous (full: acknowledged events survive a power cut; or normal),
                  write_timeout_s (5)

    Give all programs that use one store the same settings.
    """  # noqa: D301 - click reads the mark as the sign that it is


@command.command("create", short_help="Make an empty store.")
@click.argument("place", metavar="STATE")
def create(*, place: str) -> None:
    """Make STATE, a file without viewers, unless it is there; bring what an older Foveate wrote up to date.

    'foveate train', 'promote' and 'serve' do so by themselves. Where nothing of these runs beside the file, as on a
    node of a cluster, this does: replicas make no store.
    """
    from foveate.state.connect import check_state, without_password  # noqa: PLC0415 - numpy costs time

    check_state(place)
    out.print(f"state    {without_password(place)}", markup=False)


@command.command("copy", short_help="Copy all of a store into another one.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--histories-only", is_flag=True, help="Leave out what viewers were shown and where bundles lay.")
@json_option
def copy(*, source: str, target: str, histories_only: bool, json_path: Path | None) -> None:
    """Copy all histories, impressions and bundles' places of FROM into TO; FROM stays as it is.

    \b
    foveate state copy runs/bundle.state.sqlite redis://store:6379/0    # histories onto a server

    FROM may serve meanwhile. What TO holds already stays, and a copy that broke off is begun again: no event is
    there twice. Events keep their versions, so that replays find the histories as they were.

    Exit status: 0 TO has all that FROM had; 1 it does not, as where it keeps shorter histories; 2 it could not be done.
    """  # noqa: D301 - click reads the mark as the sign that it is
    from foveate.state.copying import copy_state  # noqa: PLC0415 - numpy costs time that --help is spared

    with telling() as say:
        copied = copy_state(
            source, target, impressions=not histories_only, progress=lambda so_far: say(f"copied {_counted(so_far)}")
        )
    _report(copied, "copied", target, json_path)


@command.command("backup", short_help="Write all of a store into a new file.")
@click.argument("source", metavar="STATE")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@json_option
def backup(*, source: str, target: Path, json_path: Path | None) -> None:
    """Write all histories, impressions and bundles' places of STATE into a new FILE, while STATE serves.

    \b
    foveate state backup runs/registry/state.sqlite monday.sqlite
    foveate state backup redis://store:6379/0 monday.sqlite

    FILE is a SQLite file as of one moment (of a server: of the moments when each viewer was read). It is there only
    when it is whole and checked.
    """  # noqa: D301 - as above
    from foveate.state.backup import backup_state  # noqa: PLC0415 - as above

    with telling() as say:
        copied = backup_state(source, target, progress=lambda so_far: say(f"copied {_counted(so_far)}"))
    _report(copied, "backed up", str(target), json_path)


@command.command("restore", short_help="Put a backup back.")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("target", metavar="STATE")
@json_option
def restore(*, source: Path, target: str, json_path: Path | None) -> None:
    """Put the backup FILE back into STATE: a file that is gone is made anew, a store that is there gets what it lacks.

    \b
    foveate state restore monday.sqlite runs/registry/state.sqlite
    foveate state restore monday.sqlite redis://store:6379/0

    STATE may serve meanwhile: what viewers did since the backup stays. Where a file is gone, servers that had it open
    are to be started again.

    Exit status: 0 STATE has all that FILE has; 1 it does not, as where it keeps shorter histories; 2 it could not be
    done.
    """  # noqa: D301 - as above
    from foveate.state.backup import restore_state  # noqa: PLC0415 - as above

    with telling() as say:
        copied = restore_state(source, target, progress=lambda so_far: say(f"copied {_counted(so_far)}"))
    _report(copied, "restored", target, json_path)


@command.command("erase", short_help="Erase a viewer from a store and its exports.")
@click.argument("place", metavar="STATE")
@click.argument("viewer", metavar="VIEWER")
@click.option("--certificate", type=click.Path(path_type=Path), help="Write the certificate to this new file.")
@json_option
def erase(*, place: str, viewer: str, certificate: Path | None, json_path: Path | None) -> None:
    """Erase all that VIEWER did and was shown from STATE, and the anonymous requests that their events name.

    It goes from the file of viewers beside each bundle that STATE knows, too, and from every export of 'foveate log
    export': parts that hold the viewer are written anew. STATE may serve meanwhile. What cannot be done now is said,
    and when it will be; the same command goes on with it.

    The certificate does not hold the viewer's id, but a digest by which whoever knows it sees that it was meant. STATE
    keeps it; bundles that may have learned from the viewer are on it.

    Exit status: 0 all is done; 1 something is left to do; 2 nothing could be done.
    """
    from foveate.core.config import to_dict  # noqa: PLC0415 - numpy costs time that --help is spared
    from foveate.served_log.erase import erase_viewer  # noqa: PLC0415
    from foveate.storage.files import check_free  # noqa: PLC0415

    if certificate is not None:
        check_free(certificate)
    found = erase_viewer(place, viewer)
    for store in found.stores:
        counts = f"{store.events:,} events and {store.requests:,} served requests ({store.sessions:,} anonymous)"
        out.print(hanging("erased   ", f"{counts} in '{store.place}'{_left(store.remainder)}"), markup=False)
    for export in found.exports:
        text = f"{export.rows:,} rows in '{export.folder}'{_left(export.remainder)}"
        out.print(hanging("export   ", text), markup=False)
    for bundle in found.bundles:
        reach = "may have learned from the viewer" if bundle.learned == "yes" else "cannot be read: it may have learned"
        out.print(f"bundle   {bundle.bundle_id} {reach}", markup=False)
    write_json(json_path, to_dict(found))
    if certificate is not None:
        certificate.write_text(json.dumps(to_dict(found), indent=2) + "\n", encoding="utf-8")
        out.print(f"written  {certificate}", markup=False)
    if not found.done:
        raise click.exceptions.Exit(1)


@command.command("certificates", short_help="Print what came of erasures.")
@click.argument("place", metavar="STATE")
def certificates(*, place: str) -> None:
    """Print the certificates of all erasures from STATE, one JSON object a line."""
    from foveate.state.connect import open_viewers, unhurried  # noqa: PLC0415 - as above

    with open_viewers(unhurried(place), create=False) as viewers:
        for content in viewers.certificates().values():
            click.echo(content)


def _left(remainder: str) -> str:
    return f"; left to do: {remainder}" if remainder else ""


def _report(copied: Copied, done: str, target: str, json_path: Path | None) -> None:
    """Print what was copied, and end with status 1 where the target lacks some of it."""
    from foveate.core.config import to_dict  # noqa: PLC0415 - as above
    from foveate.state.connect import without_password  # noqa: PLC0415 - as above

    out.print(f"{done} {_counted(copied)}; {copied.new_events:,} of the events are new there", markup=False)
    write_json(json_path, to_dict(copied))
    if not copied.whole:
        there = f"{copied.events - copied.missing_events:,} of {copied.events:,} events"
        requests = f"{copied.requests - copied.missing_requests:,} of {copied.requests:,} served requests"
        found = f"'{without_password(target)}' holds {there} and {requests}"
        out.print(hanging("missing  ", f"{found}: it keeps shorter histories, or for fewer days"), markup=False)
        raise click.exceptions.Exit(1)


def _counted(copied: Copied) -> str:
    return f"{copied.events:,} events and {copied.requests:,} served requests"
