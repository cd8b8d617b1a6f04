"""Options of every verb: how much it prints, and its version."""

from __future__ import annotations

import logging
from typing import Final

import click

from foveate import __version__
from foveate_cli.common import err

PACKAGES: Final = ("foveate", "foveate_capacity", "foveate_cli", "foveate_cluster", "foveate_serve", "foveate_tune")
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def add_common_options(command: click.Command) -> click.Command:
    """Add ``--quiet``, ``--verbose`` and ``--version`` to a verb, and to the verbs of a group."""
    if isinstance(command, click.Group):
        for verb in command.commands.values():
            add_common_options(verb)
    given = {name for parameter in command.params for name in parameter.opts}
    if "--quiet" not in given:
        command.params += _common_options()
    return command


def _common_options() -> list[click.Parameter]:
    quiet, verbose = "Print results and errors alone, no progress.", "Print the log as well, on standard error."
    return [
        click.Option(["-q", "--quiet"], is_flag=True, expose_value=False, callback=_quiet, help=quiet),
        click.Option(["-v", "--verbose"], is_flag=True, expose_value=False, callback=_verbose, help=verbose),
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_version,
            help="Show the version and exit.",
        ),
    ]


def _quiet(ctx: click.Context, parameter: click.Parameter, given: bool) -> None:
    del ctx, parameter
    err.quiet = err.quiet or given


def _verbose(ctx: click.Context, parameter: click.Parameter, given: bool) -> None:
    del ctx, parameter
    if not given:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)


def _version(ctx: click.Context, parameter: click.Parameter, given: bool) -> None:
    del parameter
    if given and not ctx.resilient_parsing:
        click.echo(f"foveate, version {__version__}")
        ctx.exit()
