"""What the verbs share: options, configs, output, and news of long work."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column

from foveate.config import apply_overrides, from_dict, load_yaml, to_dict
from foveate.data.fitting import Step
from foveate.errors import ConfigError
from foveate_cluster.edges import prepare_to_join

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

out = Console(highlight=False, soft_wrap=True)
"""Where results go: standard output."""
news = Console(stderr=True, highlight=False)
"""Where progress goes: standard error, so that a pipe carries results alone."""


def folder(name: str, help_text: str, *, required: bool = True) -> Callable[[F], F]:
    """Add an option that takes a path, such as ``--data DIR``."""
    return click.option(name, type=click.Path(path_type=Path), required=required, help=help_text)


def json_option(command: F) -> F:
    """Add ``--json FILE`` as the parameter ``json_path``."""
    return click.option(
        "--json", "json_path", type=click.Path(path_type=Path), help="Write the machine-readable result to this file."
    )(command)


def config_options(command: F) -> F:
    """Add ``--config FILE`` and trailing ``KEY=VALUE`` overrides as ``config`` and ``overrides``."""
    command = click.option(
        "--config", type=click.Path(path_type=Path), help="YAML file of settings; an unknown key is an error."
    )(command)
    return click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")(command)


def address_option(command: F) -> F:
    """Add ``--address ADDRESS`` of a running Ray cluster."""
    return click.option(
        "--address",
        callback=_before_joining,
        help="Run on this Ray cluster, such as auto or HOST:6379, instead of starting one here.",
    )(command)


def _before_joining(context: click.Context, parameter: click.Parameter, address: str | None) -> str | None:
    del context, parameter
    if address is not None:
        prepare_to_join()
    return address


def read_config(kind: type[T], config: Path | None, overrides: Sequence[str], base: Any = None) -> T:
    """Build a config from a YAML file (or ``base``, or the defaults) and overrides."""
    data = load_yaml(config) if config else (to_dict(base) if base is not None else {})
    return from_dict(kind, apply_overrides(data, overrides))


def write_json(path: Path | None, payload: Any) -> None:
    """Write a verb's result where ``--json`` asked for it, if it did.

    Raises
    ------
    ConfigError
        The file cannot be written.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(payload, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--json '{path}': {error.strerror}") from error


@contextmanager
def working(label: str, total: int | None = None) -> Iterator[Callable[[str, int], None]]:
    """Show a progress bar on standard error; yields ``advance(note, steps)``. Silent where no one watches."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=news, transient=True, disable=not news.is_terminal) as bar:
        task = bar.add_task(label, total=total)

        def advance(note: str = "", steps: int = 1) -> None:
            bar.update(task, advance=steps, description=f"{label} {note}".rstrip())

        yield advance


@contextmanager
def telling(indent: str = "") -> Iterator[Callable[[str], None]]:
    """Yield what tells news of long work: on a terminal the newest line beside a bar, elsewhere all lines."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=news, transient=True, disable=not news.is_terminal) as bar:
        task = bar.add_task(indent, total=None)

        def tell(line: str) -> None:
            nonlocal task
            # An empty line is a step between two that can be read.
            shown = f"{indent}{line}" if line else None
            if isinstance(line, Step):
                bar.update(task, completed=line.done, total=line.total, description=shown)
            else:
                bar.remove_task(task)
                task = bar.add_task(shown or indent, total=None)
            if shown and not news.is_terminal:
                news.print(shown, markup=False, soft_wrap=True)

        yield tell


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM interrupt like Ctrl-C, and both even where a shell or Ray has set them otherwise."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
