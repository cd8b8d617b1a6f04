"""``foveate keys``: who may ask a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from foveate_cli.common import err, json_option, out, write_json

F = TypeVar("F", bound=Callable[..., Any])

_WIDE = 110
_FOLDED = ("name", "scopes", "bound to")
_PAPER = 1000
"""Columns of the list in a file or a pipe, at most."""


def _file(command: F) -> F:
    return click.option(
        "--file",
        "path",
        type=click.Path(path_type=Path),
        default=Path("runs/keys.json"),
        show_default=True,
        help="The file of keys; it holds no secret.",
    )(command)


@click.group(short_help="API keys of a server.")
def command() -> None:
    """Say who may ask a server: 'foveate serve --keys FILE' lets only these in.

    Scopes: 'read' for slates and the catalogue, 'write' for events, 'inspect' for why an item is in a slate or not,
    which tells of viewers' histories, and for slates of another moment, 'admin' for these and all else. A key that lies
    in a browser is better bound, by --viewer or --sessions. A running server sees a change within a second.
    """


@command.command("add", short_help="Make a key.")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(("read", "write", "inspect", "admin")),
    multiple=True,
    default=("read",),
    show_default=True,
    help="What it opens; may be given more than once.",
)
@click.option("--rate", default="", metavar="RATE", help="Most requests, such as 100/minute, by each ingress replica.")
@click.option("--viewer", metavar="ID", help="Bind it to one viewer: it may name no other.")
@click.option("--sessions", is_flag=True, help="Bind it to sessions: it may name no viewer.")
@_file
@json_option
def add(
    *,
    name: str,
    scopes: Sequence[Any],
    rate: str,
    viewer: str | None,
    sessions: bool,
    path: Path,
    json_path: Path | None,
) -> None:
    """Make a key called NAME and show it: this once, for only its digest is kept."""
    from foveate_serve.http.keys import Key, Keys  # noqa: PLC0415

    def edit(keys: Keys) -> tuple[Keys, tuple[Key, str]]:
        more, made, shown = keys.added(name, scopes, rate, viewer=viewer, sessions=sessions)
        return more, (made, shown)

    key, secret = Keys.change(path, edit)
    err.print(f"key {key.key_id} for {name} is in {path}; keep what follows, it is not shown again", markup=False)
    out.print(secret, markup=False)
    bound = {"viewer": viewer, "sessions": sessions}
    write_json(json_path, {"key_id": key.key_id, "name": name, "scopes": list(key.scopes), "rate": rate, **bound})


@command.command("list", short_help="Show all keys.")
@_file
@json_option
def list_(*, path: Path, json_path: Path | None) -> None:
    """Show who has a key, what it opens, and which were revoked."""
    from foveate_serve.http.keys import Keys  # noqa: PLC0415

    keys = Keys.read(path).keys
    table = Table(box=None, pad_edge=False)
    for column in ("id", "name", "scopes", "rate", "bound to", "made", "revoked"):
        # Names and scopes take a second line where there is little room; what one copies, such as an id, is never cut.
        table.add_column(column, no_wrap=column not in _FOLDED, overflow="fold")
    for key in keys:
        table.add_row(
            key.key_id,
            escape(key.name),
            ", ".join(key.scopes),
            key.rate,
            "sessions" if key.sessions else escape(key.viewer or ""),
            _moment(key.created_at),
            _moment(key.revoked_at or ""),
        )
    if not out.is_terminal:
        # In a pipe nothing is cut off.
        table.width = Measurement.get(out, out.options.update(max_width=_PAPER), table).maximum
    out.print(table)
    columns = ("key_id", "name", "scopes", "rate", "created_at", "revoked_at", "viewer", "sessions")
    write_json(json_path, [{name: getattr(key, name) for name in columns} for key in keys])


def _moment(at: str) -> str:
    """Return a moment by the day on a narrow terminal, to the minute elsewhere; the file has the seconds."""
    return at[:10] if out.is_terminal and out.width < _WIDE else at[:16].replace("T", " ")


@command.command("revoke", short_help="Close a key for good.")
@click.argument("key_id")
@_file
def revoke(*, key_id: str, path: Path) -> None:
    """Close the key KEY_ID for good."""
    from foveate_serve.http.keys import Keys  # noqa: PLC0415

    Keys.read(path)
    Keys.change(path, lambda keys: (keys.revoked(key_id), None))
    out.print(f"key {key_id} is revoked", markup=False)
