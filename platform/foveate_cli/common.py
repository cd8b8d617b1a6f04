"""Options, configs, output and progress, shared by all verbs."""

from __future__ import annotations

import getpass
import json
import socket
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

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
    TimeRemainingColumn,
)
from rich.table import Column

from foveate.core.config import LARGEST_SEED, from_dict, load_yaml, to_dict
from foveate.core.errors import ConfigError
from foveate.core.overrides import apply_options, apply_overrides
from foveate_cluster.environment import prepare_to_join

ORDER_ONLY = "the log has no times, so it is cut by order: protocol=leave-one-out"

STANDARD_OUTPUT = Path("-")

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

out = Console(highlight=False, soft_wrap=True)
"""Where results go: standard output."""
err = Console(stderr=True, highlight=False)
"""Where progress goes: standard error, so that a pipe carries results alone."""


def folder(name: str, help_text: str, *, required: bool = True) -> Callable[[F], F]:
    """Add an option that takes a path, such as ``--data DIR``."""
    return click.option(name, type=click.Path(path_type=Path), required=required, help=help_text)


def place(name: str, help_text: str) -> Callable[[F], F]:
    """Add an option that takes a path or an address of a store, such as ``--from SWEEP``; it stays a text."""
    return click.option(name, metavar="FOLDER_OR_ADDRESS", help=help_text)


class LocalPath(click.ParamType[Path]):
    """The folder of a dataset or a bundle; one at an address such as ``s3://`` is brought here and checked."""

    name = "folder_or_address"

    def __init__(self, what: Literal["dataset", "bundle"]) -> None:
        self._what = what

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the folder on this machine."""
        from foveate.storage.transfer import is_address, local_copy  # noqa: PLC0415 - Arrow starts slowly

        del param, ctx
        if not is_address(value):
            return Path(value)
        if self._what == "dataset":
            from foveate.data.dataset import verify_dataset  # noqa: PLC0415 - as above

            return local_copy(value, verify_dataset)
        from foveate.bundle import verify  # noqa: PLC0415 - as above

        return local_copy(value, verify)


def reads(name: str, what: Literal["dataset", "bundle"], help_text: str, *, required: bool = True) -> Callable[[F], F]:
    """Add an option that takes a dataset's or a bundle's folder or address, such as ``--data``."""
    return click.option(name, type=LocalPath(what), required=required, help=help_text)


def makes(help_text: str) -> Callable[[F], F]:
    """Add ``--out``, a folder or an address where something is made."""
    return click.option("--out", metavar="FOLDER_OR_ADDRESS", required=True, help=help_text)


def state_option(help_text: str, *, required: bool = False) -> Callable[[F], F]:
    """Add ``--state``, where viewers' state is kept: a file, or the address of a server."""
    return click.option(
        "--state", metavar="FILE_OR_ADDRESS", required=required, help=f"{help_text} A file, or redis://HOST:PORT/DB."
    )


def seed_option(help_text: str, default: int | None = None) -> Callable[[F], F]:
    """Add ``--seed``, from 0 to the largest that every generator takes."""
    seeds = click.IntRange(0, LARGEST_SEED)
    return click.option("--seed", type=seeds, default=default, show_default=default is not None, help=help_text)


def json_option(command: F) -> F:
    """Add ``--json FILE`` as ``json_path``; with ``-`` all else that is printed goes to standard error."""
    return click.option(
        "--json",
        "json_path",
        type=click.Path(path_type=Path, allow_dash=True),
        callback=_standard_output,
        help="Write the machine-readable result to this file; - is standard output.",
    )(command)


def _standard_output(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    del parameter
    if path == STANDARD_OUTPUT:
        out.stderr = True
        context.call_on_close(partial(setattr, out, "stderr", False))
    return path


def registry_option(command: F) -> F:
    """Add ``--registry DIR``, where promoted bundles are kept."""
    return click.option(
        "--registry",
        metavar="FOLDER_OR_ADDRESS",
        default="runs/registry",
        show_default=True,
        help="Where promoted bundles are kept, with their history: a folder, or an address such as s3://BUCKET/REGISTRY.",
    )(command)


def user_at_host() -> str:
    """Return who is at work, for a history that people read."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()


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
        callback=before_joining,
        help="Run on this Ray cluster, such as auto or HOST:6379, instead of starting one here.",
    )(command)


def before_joining(context: click.Context, parameter: click.Parameter, address: str | None) -> str | None:
    """Have Ray show its token, before it is imported."""
    del context, parameter
    if address is not None:
        prepare_to_join()
    return address


def read_config(
    kind: type[T],
    config: Path | None,
    overrides: Sequence[str],
    base: Any = None,
    *,
    options: Mapping[str, Any] = MappingProxyType({}),
    usual: Mapping[str, Any] = MappingProxyType({}),
) -> T:
    """Build a config from a YAML file (or ``base``, or the defaults), options by their dotted keys, and overrides.

    Overrides come last, so that the more special one wins; an option that is None was not given. ``usual`` stands in
    for defaults: its values hold where neither the file, nor an option, nor an override says otherwise.
    """
    data = load_yaml(config) if config else (to_dict(base) if base is not None else {})
    silent = {key: value for key, value in usual.items() if not (config and _says(data, key))}
    data = apply_options(apply_options(data, silent, kind), options, kind)
    return from_dict(kind, apply_overrides(data, overrides, kind))


def _says(data: Any, key: str) -> bool:
    """Whether a dotted key stands in a config."""
    for part in key.split("."):
        if not isinstance(data, Mapping) or part not in data:
            return False
        data = data[part]
    return True


def usual_protocol(data: Path, key: str = "protocol") -> Mapping[str, str]:
    """Return what a recipe's protocol is by default for a dataset: a log without times cannot be cut by time."""
    from foveate.data.dataset import MANIFEST, open_dataset  # noqa: PLC0415 - polars starts slowly

    # Where the data lies on a cluster alone, the cluster reads it.
    if not (data / MANIFEST).exists() or open_dataset(data).manifest.first is not None:
        return {}
    err.print(ORDER_ONLY, markup=False, soft_wrap=True)
    return {key: "leave-one-out"}


def hanging(head: str, text: str) -> str:
    """Return a line that on a terminal is wrapped between words, behind its head; in a pipe it stays one line.

    Parameters
    ----------
    head
        What stands before the text, with the blanks between them.
    """
    if not out.is_terminal:
        return f"{head}{text}"
    blank, width = " " * len(head), max(20, out.width)
    return textwrap.fill(
        text, width, initial_indent=head, subsequent_indent=blank, break_on_hyphens=False, break_long_words=False
    )


def write_json(path: Path | None, payload: Any) -> None:
    """Write a verb's result where ``--json`` asked for it, if it did.

    Raises
    ------
    ConfigError
        The file cannot be written.
    """
    if path is None:
        return
    text = json.dumps(payload, indent=2, allow_nan=False)
    if path == STANDARD_OUTPUT:
        click.echo(text)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
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
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(label, total=total)

        def advance(note: str = "", steps: int = 1) -> None:
            bar.update(task, advance=steps, description=f"{label} {note}".rstrip())

        yield advance


class Teller:
    """Tells news of long work: on a terminal the newest line beside a bar, elsewhere all lines."""

    def __init__(self, bar: Progress, indent: str) -> None:
        self._bar = bar
        self._indent = indent
        self._newest = indent
        self._task = bar.add_task(indent, total=None)

    def __call__(self, line: str) -> None:
        """Tell one line."""
        self._newest = f"{self._indent}{line}"
        self._bar.update(self._task, description=self._newest)
        if not err.is_terminal:
            err.print(self._newest, markup=False, soft_wrap=True)

    def step(self, done: float, total: float) -> None:
        """Show how far the work at hand has come."""
        if done < total:
            self._bar.update(self._task, completed=done, total=total)
        else:
            # What comes next does not say how long it takes: a fresh bar only moves.
            self._bar.remove_task(self._task)
            self._task = self._bar.add_task(self._newest, total=None)


@contextmanager
def telling(indent: str = "") -> Iterator[Teller]:
    """Yield what tells news of long work on standard error."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        yield Teller(bar, indent)
