"""Every verb takes ``--quiet``, ``--verbose`` and ``--version``."""

from __future__ import annotations

import ast
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from foveate.bundle import Bundle
from foveate_cli.common import err
from foveate_cli.main import PACKAGES, cli


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    err.quiet = False
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


def verbs(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from verbs(command, *path, name)


def test_every_verb_takes_them() -> None:
    for path in verbs(cli):  # type: ignore[arg-type] # click.command hides that it is a group
        done = CliRunner().invoke(cli, [*path, "--help"])
        assert done.exit_code == 0, path
        assert all(option in done.output for option in ("-q, --quiet", "-v, --verbose", "--version")), path


def test_the_version_is_printed_and_nothing_done() -> None:
    for path in (("tune",), ("data", "import"), ("state", "copy")):
        done = CliRunner().invoke(cli, [*path, "--version"])
        assert (done.exit_code, done.output.startswith("foveate, version ")) == (0, True)


@pytest.mark.parametrize(
    ("option", "logs", "progress"), [("-q", False, False), ("-v", True, True), (None, False, True)]
)
def test_quiet_prints_no_progress_and_verbose_the_log(
    option: str | None, logs: int, progress: int, small_bundle: Bundle, tmp_path: Path
) -> None:
    words = ["recommend", "--bundle", str(small_bundle.path), "--user", "u00017", *([option] if option else [])]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert "by bundle" in done.stdout
    with err.capture() as shown:
        err.print("step 1 of 2")
    assert ("step 1" in shown.get()) == progress
    assert logging.getLogger("foveate.bundle").isEnabledFor(logging.DEBUG) == logs


def test_help_says_of_every_verb_what_its_command_says_and_imports_none() -> None:
    code = "import sys; from foveate_cli.main import cli; cli(['--help'], standalone_mode=False); print([*sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "polars", "ray", "foveate_cli.tune"} & set(ast.literal_eval(done.stdout.splitlines()[-1]))
    context = click.Context(cli)
    for name in cli.list_commands(context):  # type: ignore[attr-defined] # click.command hides that it is a group
        command = cli.get_command(context, name)  # type: ignore[attr-defined]
        [row] = [line for line in done.stdout.splitlines() if line.split()[:1] == [name]]
        assert command.short_help.startswith(row.split(maxsplit=1)[1])
