"""``foveate tune``: a sweep over encoders."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from foveate.core.errors import ConfigError, StorageError
from foveate_cli.common import (
    address_option,
    config_options,
    err,
    folder,
    json_option,
    out,
    place,
    read_config,
    reads,
    usual_protocol,
    write_json,
)
from foveate_cli.stopping import stoppable
from foveate_cli.trial_board import following

if TYPE_CHECKING:
    from foveate_tune.config import SweepConfig
    from foveate_tune.results.leaderboard import SweepResult

_PAPER, _GAP, _SETTINGS = 110, 3, 18
"""Columns of a file or a pipe, between two columns of a table, and of settings at least."""
_SHORT = ("trials", "concurrent", "workers", "cpus", "gpus", "epochs", "max_seconds", "seed")


@click.command(short_help="Sweep encoders with Ray Tune.")
@reads("--data", "dataset", "Dataset folder; may stand in the config instead.", required=False)
@place("--out", "Sweep folder to make, or its address on a store, such as s3://BUCKET/SWEEP; must not be there yet.")
@place("--resume", "Go on with this sweep, which was broken off; it brings its config with it.")
@click.option("--trials", type=int, help="How many settings to try. [default: 4]")
@click.option("--concurrent", type=int, help="How many trials may train at once. [default: 2]")
@click.option("--workers", type=int, help="Processes that train a trial together. [default: 1]")
@click.option("--cpus", type=int, help="CPUs of one worker. [default: 1]")
@click.option("--gpus", type=float, help="GPUs of one worker, one at most; may be a fraction. [default: 0]")
@click.option("--epochs", type=int, help="Most epochs of a trial. [default: 6]")
@click.option("--max-seconds", type=float, help="Most seconds of a trial. [default: 600]")
@click.option("--seed", type=int, help="Of the search and of every trial. [default: 0]")
@click.option(
    "--tracking",
    type=click.Choice(["auto", "offline", "none"]),
    help="Weights & Biases: auto is online where a key is set, else offline; TensorBoard's files come with both. "
    "none writes neither. [default: auto]",
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would run, where, for how long and at what cost; start nothing."
)
@click.option(
    "--cost-per-hour",
    type=click.FloatRange(min=0),
    help="With --dry-run: price of a GPU hour, or of a CPU hour where no trial takes a GPU.",
)
@click.option(
    "--submit",
    is_flag=True,
    help="Hand the sweep to the cluster whose dashboard is --address, such as http://HOST:8265, and follow it there.",
)
@folder("--wheel", "With --submit: Foveate's code as a built wheel. [default: the code that runs here]", required=False)
@config_options
@address_option
@json_option
def command(
    *,
    data: Path | None,
    out: str | None,
    resume: str | None,
    config: Path | None,
    overrides: tuple[str, ...],
    address: str | None,
    json_path: Path | None,
    tracking: str | None,
    dry_run: bool,
    cost_per_hour: float | None,
    submit: bool,
    wheel: Path | None,
    **short: Any,
) -> None:
    """Sweep attention mixers, scorers and settings with Ray Tune, and choose the best on validation.

    KEY=VALUE sets anything of the config, such as search.mixers=[gated] scheduler.grace_epochs=3 scheduler=none
    search.settings.encoder.width=[32,64,128] recipe.protocol=leave-one-out sources.attention.train.batch_size=256.

    level.name=slate level.encoder=SWEEP tunes the second stage instead, on the encoder that another sweep chose:
    candidates and their mix, ranker, diversity and caps, for relevance, coverage, variety and time at once.

    With --address the data and the sweep folder must be the same folders on every node. A store's address may bring
    options: s3://BUCKET/SWEEP?region=eu-west-1&endpoint_override=HOST:PORT.

    With --submit the sweep runs on without this terminal; Foveate's code travels along, and its dependencies must be
    installed there. Ctrl-C leaves it running: 'foveate job' follows, stops and lists what was submitted.

    A sweep that was broken off stays: --resume SWEEP finishes it. Resume sweeps of people you trust alone.
    """
    if submit and address is None:
        raise ConfigError("--submit: to which cluster? name its dashboard with --address http://HOST:8265")
    if resume is not None:
        if out or config or overrides or tracking or dry_run or any(value is not None for value in short.values()):
            raise ConfigError(
                "--resume goes on with what the sweep was asked: only --data, --address and --json go with it"
            )
        if submit and address is not None:
            _submit(_resume_words(resume, data), resume, address, wheel, json_path)
        else:
            _resume(resume, data, address, json_path)
        return
    if wheel is not None and not submit:
        raise ConfigError("--wheel is for --submit: name both")
    if submit and dry_run:
        raise ConfigError("--dry-run starts nothing: leave out --submit, and name the cluster as ray://HOST:10001")
    if cost_per_hour is not None and not dry_run:
        raise ConfigError("--cost-per-hour is for --dry-run: name both")
    if out is None and not dry_run:
        raise ConfigError("where to? name a sweep folder to make with --out, or one to go on with by --resume")
    from foveate_tune.config import SweepConfig  # noqa: PLC0415 - Ray and torch cost seconds that --help is spared
    from foveate_tune.run_sweep import run_sweep  # noqa: PLC0415

    options = {name: short[name] for name in _SHORT} | {"tracking.mode": tracking}
    options |= {"tracking.tensorboard": False if tracking == "none" else None}
    read = partial(read_config, SweepConfig, config, _of_recipe(overrides), base=SweepConfig(), options=options)
    source = data or read().data
    if source is None:
        raise ConfigError("which data? name a dataset folder with --data, or data in the config")
    settings = dataclasses.replace(read(usual=usual_protocol(source, "recipe.protocol")), data=source)
    if dry_run or out is None:
        _forecast(settings, source, out, address=address, cost_per_hour=cost_per_hour, json_path=json_path)
        return
    if submit and address is not None:
        from foveate_tune.submit import tune_words  # noqa: PLC0415 - as above

        _submit(tune_words(settings, source.resolve(), _absolute(out)), out, address, wheel, json_path)
        return
    with _telling_how_to_go_on(out), stoppable(), following() as say:
        result = run_sweep(settings, source, out, address=address, progress=say)
    show(result, source, out)
    write_json(json_path, result.to_json())


def _of_recipe(overrides: Sequence[str]) -> list[str]:
    """Let the settings of a source be named as they are for ``train`` and ``evaluate``."""
    return [f"recipe.{text}" if text.startswith("sources.") else text for text in overrides]


def _submit(words: list[str], sweep: str, address: str, wheel: Path | None, json_path: Path | None) -> None:
    """Run ``foveate WORDS`` on a cluster and show its log: news, and at its end the leaderboard."""
    from foveate_cli.job import submit  # noqa: PLC0415 - as above

    job = submit(words, address, wheel)
    write_json(json_path, {"job": job, "sweep": _absolute(sweep)})


def _resume_words(sweep: str, data: Path | None) -> list[str]:
    moved = ["--data", str(data.resolve())] if data else []
    return ["tune", "--resume", _absolute(sweep), *moved, "--address", "auto"]


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).resolve())


def _forecast(
    settings: SweepConfig,
    data: Path,
    sweep: str | None,
    *,
    address: str | None,
    cost_per_hour: float | None,
    json_path: Path | None,
) -> None:
    from foveate.storage.folder import Folder  # noqa: PLC0415 - as above
    from foveate_tune.forecast import forecast  # noqa: PLC0415

    if sweep is not None:
        Folder.at(sweep).check_free()
    estimate = forecast(settings, data, address=address, cost_per_hour=cost_per_hour, progress=_say)
    for label, text in estimate.lines():
        out.print(f"{label:9} {text}", markup=False)
    write_json(json_path, estimate.to_json())


def _resume(sweep: str, data: Path | None, address: str | None, json_path: Path | None) -> None:
    from foveate.storage.folder import Folder  # noqa: PLC0415 - as above
    from foveate_tune.resume import finished, taken_up  # noqa: PLC0415
    from foveate_tune.run_sweep import resume_sweep  # noqa: PLC0415

    folder = Folder.at(sweep)
    folder.check_there("begin a sweep with 'foveate tune --out'")
    if (done := finished(folder)) is not None:
        out.print(done, markup=False)
        return
    source = taken_up(folder, data).data
    with _telling_how_to_go_on(sweep), stoppable(), following() as say:
        result = resume_sweep(sweep, dataset_path=source, address=address, progress=say)
    show(result, source, sweep)
    write_json(json_path, result.to_json())


@contextmanager
def _telling_how_to_go_on(sweep: str) -> Iterator[None]:
    from foveate_tune.resume import resumable  # noqa: PLC0415 - as above

    again = f"foveate tune --resume {shlex.quote(sweep)}"
    try:
        yield
    except StorageError as error:
        raise StorageError(f"{error}; the sweep has stopped: make room, then '{again}' goes on with it") from error
    except KeyboardInterrupt:
        _say(f"foveate: stopped; {again} goes on with it" if resumable(sweep) else "foveate: stopped before it began")
        raise


def show(result: SweepResult, data: Path, sweep: str | Path) -> None:
    """Print the leaderboard, what it is worth and what to do next."""
    first = result.first
    out.print(_table(result, out.width if out.is_terminal else max(out.width, _PAPER)))
    best, base = first.text(result.winning.metrics), first.text(result.popularity)
    verdict = f"{'above' if result.beats_popularity else 'NOT above'} popularity's {base}"
    won = f"{result.winner} of sweep {result.sweep_id}{', the knee' if result.knee else ''}"
    out.print(f"winner  {won}: {first.name} {best}, {verdict}", markup=False)
    if result.knee:
        out.print(
            f"front   {len(result.front)} of {len(result.trials)} trials; --pick best takes {result.trials[0].name}, "
            "--pick TRIAL any other",
            markup=False,
        )
    out.print(f"took    {result.seconds:.1f} s; results in {sweep}", markup=False)
    out.print(f"next    foveate train --data {data} --from {shlex.quote(str(sweep))} --out BUNDLE", markup=False)


def _table(result: SweepResult, width: int) -> Table:
    from foveate_tune.trials.record import draw_label  # noqa: PLC0415

    facts = result.facts
    title = (
        f"{facts['data']['title']} · validation, {facts['validation_viewers']:,} viewers · {len(result.trials)} trials"
    )
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in result.head():
        table.add_column(name, justify="left" if name in ("trial", "front", "ended") else "right", no_wrap=True)
    taken = sum(max(map(len, texts)) + _GAP for texts in zip(result.head(), *result.lines(), strict=True))
    # Figures that are cut off say nothing: where room is scarce settings stay out, and at last lines are wrapped.
    roomy = width - taken >= _SETTINGS
    table.width = width if roomy else taken
    if roomy:
        table.add_column("settings", min_width=_SETTINGS)
    else:
        table.caption_justify, table.caption = "left", "settings are in leaderboard.md"
    for row, texts in zip(result.trials, result.lines(), strict=True):
        table.add_row(*map(escape, (*texts, draw_label(row.settings)) if roomy else texts))
    for texts in result.rivals():
        table.add_row(*map(escape, texts))
    return table


def _say(line: str) -> None:
    err.print(line, markup=False, soft_wrap=True)
