"""The console script: finds the verbs, and turns the user's mistakes into one clear line."""

from __future__ import annotations

import ast
import importlib
import logging
import pkgutil
import signal
import sys
from pathlib import Path
from typing import Final

import click

import foveate_cli
from foveate import __version__
from foveate.core.errors import FoveateError
from foveate_cli.common import err
from foveate_cli.stopping import Terminated

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


_NOT_VERBS = frozenset({"__main__", "common", "evaluation_tables", "local_servers", "main", "stopping", "trial_board"})


class Verbs(click.Group):
    """Every module of this package but a few is a verb; it is imported only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the verbs."""
        del ctx
        modules = [m.name for m in pkgutil.iter_modules(foveate_cli.__path__) if m.name not in _NOT_VERBS]
        return sorted(name.replace("_", "-") for name in modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb; its module calls its click command ``command``."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"foveate_cli.{cmd_name.replace('-', '_')}").command
        return add_common_options(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each verb does, read from its source: to import them all takes seconds."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _short_help(name)) for name in self.list_commands(ctx)])


def _short_help(verb: str) -> str:
    """Return the first ``short_help`` of a verb's module, which is that of its command."""
    source = Path(foveate_cli.__path__[0], f"{verb.replace('-', '_')}.py").read_text(encoding="utf-8")
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    found = (one.value for call in calls for one in call.keywords if one.arg == "short_help")
    return next((str(one.value) for one in found if isinstance(one, ast.Constant)), "")


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="foveate")
def cli() -> None:
    """Video recommendation by attention: import a log, sweep, train, serve, ask."""


def main() -> None:
    """Run the command line; exit 2 with one line on the user's mistake, 130 on Ctrl-C, 143 on SIGTERM."""
    try:
        # Click hands the status of a verb that ends by itself back, and raises nothing.
        status = cli(standalone_mode=False)
    except FoveateError as error:
        click.echo(f"foveate: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"foveate: {error.format_message()}", err=True)
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(f"Try '{error.ctx.command_path} --help'.", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort) as error:
        # Click raises Abort from what interrupted it.
        terminated = isinstance(error.__cause__ or error, Terminated)
        sys.exit(128 + (signal.SIGTERM if terminated else signal.SIGINT))
    if status:
        sys.exit(int(status))
