"""The command line of the documents, read by the real one: options, arguments, and the keys and values of settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from foveate.data.readers.base import Reader
from foveate.data.readers.table import TableReader
from foveate_cli.common import read_config
from foveate_cli.main import cli


def parse(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Have the real command line read the words after ``foveate``; return the verb and what it read.

    Raises
    ------
    click.ClickException
        It does not know them.
    """
    command: click.Command = cli
    context = click.Context(cli, info_name="foveate")
    verb: list[str] = []
    rest = list(words)
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        verb.append(str(name))
        command = found
    return " ".join(verb), command.make_context(command.name, rest, parent=context).params


def check_settings(verb: str, params: dict[str, Any]) -> None:
    """Build the config that a verb's ``KEY=VALUE`` words change.

    Raises
    ------
    ConfigError
        A key is unknown, or a value impossible.
    """
    # Ray and torch take seconds to import.
    from foveate.recommend.recipe import Recipe
    from foveate_cli.tune import _of_recipe
    from foveate_serve.config import ServeConfig
    from foveate_tune.config import SweepConfig

    settings = tuple(params.get("overrides") or ())
    if verb == "data import":
        reader, *words = params["words"]
        named = reader in Reader.variants
        settings = tuple(words[1:] if named else words)
        read_config(Reader.variants[reader] if named else TableReader, None, settings)
    elif verb == "tune":
        read_config(SweepConfig, None, _of_recipe(settings), base=SweepConfig())
    elif verb in ("train", "evaluate"):
        read_config(Recipe, params["config"], settings, base=Recipe())
    elif verb == "serve":
        read_config(ServeConfig, params["config"], settings)
    else:
        assert not settings, f"'foveate {verb}' has settings that nothing checks"
