"""``foveate promote``: a bundle becomes the one that serves, if the gate lets it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foveate.core.errors import ConfigError, FoveateError
from foveate.data.dataset import open_dataset
from foveate.storage.transfer import absolute, is_address
from foveate_cli.common import (
    LocalPath,
    json_option,
    out,
    reads,
    registry_option,
    state_option,
    telling,
    user_at_host,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from foveate.releases import Entry, Gate, Verdict
    from foveate.state.connect import StatePlace


@click.command(short_help="Let a bundle serve, if the gate agrees.")
@click.argument("bundle", type=LocalPath("bundle"))
@reads("--data", "dataset", "Dataset folder whose newest window decides; not needed with --no-gate.", required=False)
@registry_option
@click.option(
    "--margin",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="Per cent of the serving bundle's figure that the new one may lose at most.",
)
@reads(
    "--twin",
    "bundle",
    "For a bundle trained with --upto all: its like of --upto test, judged in its place.",
    required=False,
)
@state_option(
    "The live store of viewers, which gets the histories beside BUNDLE. Default: the one that the registry's last "
    "server used, or REGISTRY/state.sqlite."
)
@click.option("--no-gate", is_flag=True, help="Promote without asking; needs --because.")
@click.option("--because", default="", help="Why, for the history.")
@json_option
def command(
    *,
    bundle: Path,
    data: Path | None,
    registry: str,
    state: str | None,
    margin: float,
    twin: Path | None,
    no_gate: bool,
    because: str,
    json_path: Path | None,
) -> None:
    """Copy BUNDLE into the registry and let it serve, in one step that a crash cannot leave half done.

    The gate asks it and the bundle that serves about the same viewers of the newest window. It passes where the lower
    end of the 95 % interval of the difference in slate NDCG@10, paired over viewers, lies above minus --margin. The
    first bundle is compared with popularity.

    Viewers' histories stay: what was served goes on in the live store, and the events beside BUNDLE are added to it.

    Exit status: 0 it serves; 1 the gate refused it, and the old one serves on; 2 it could not be judged.
    """
    from foveate.releases import Releases  # noqa: PLC0415 - torch costs seconds that --help is spared
    from foveate.state.connect import without_password  # noqa: PLC0415 - as above

    if state is not None:
        # What is no address is refused before anything is promoted.
        without_password(state)
    if no_gate and twin:
        raise ConfigError("--twin is for the gate: leave out --no-gate")
    releases = Releases(registry)
    with telling() as say:
        gate = None if no_gate else _gate(data, margin, say)
        before = releases.current()
        entry = releases.promote(bundle, gate, twin=twin, who=user_at_host(), because=because, say=say)
    show(entry, before, releases.current())
    live = state if is_address(registry) else state or _live(Path(registry), bundle, entry.before)
    path = str(Path(registry) / "current") if not is_address(registry) else str(releases.path(entry.bundle))
    payload = {"action": entry.action, "bundle": entry.bundle, "current": path, "entry": _plain(entry)}
    write_json(json_path, {**payload, "state": None if live is None else without_password(live)})
    if entry.action == "refuse":
        raise click.exceptions.Exit(1)
    if live is not None:
        _add_histories(bundle, live)
    if is_address(registry):
        state_address = without_password(live) if live else "redis://HOST:PORT/DB"
        out.print(f"next     foveate serve --follow {registry} --state {state_address}", markup=False)
    else:
        out.print(f"next     foveate serve --bundle {path}{_named(Path(registry), live)}", markup=False)


def show(entry: Entry, before: str | None, current: str | None) -> None:
    """Print what the gate found and what came of it; ``before`` and ``current`` are what served before and after."""
    if entry.bundle == before:
        out.print(f"serves   bundle {before} already: nothing was done", markup=False)
        return
    if entry.gate is not None:
        for line in verdict_lines(entry.gate):
            out.print(line, markup=False)
    place = f"in place of {entry.before}" if entry.before else "as the first of its registry"
    if entry.action == "refuse":
        serves = f"{current} serves on" if current else "nothing serves yet"
        out.print(f"refused  bundle {entry.bundle}: {serves}", markup=False)
    else:
        out.print(f"serves   bundle {entry.bundle}, {place}", markup=False)


def verdict_lines(verdict: Verdict) -> list[str]:
    """Return what the gate found, in lines."""
    name = "popularity" if verdict.against == "popularity" else f"bundle {verdict.against}"
    share = f": {verdict.change()}" if verdict.percent is not None else ""
    figures = f"{verdict.new:.4f} against {verdict.old:.4f} of {name}{share}"
    lines = [
        f"judged   on {verdict.viewers:,} viewers of the newest window of {verdict.data}",
        f"gate     {verdict.metric} {figures}, margin {verdict.margin:g} %",
    ]
    if not verdict.passed:
        lines.append(f"         {_why(verdict)}")
    return [*lines, *(f"note     {note}" for note in verdict.notes)]


def _why(verdict: Verdict) -> str:
    if verdict.high is not None and verdict.high < -verdict.margin:
        return "all of the interval lies below the margin: the new bundle is worse"
    return "the interval reaches below the margin: judge on more viewers, or state a wider --margin"


def _gate(data: Path | None, margin: float, say: Callable[[str], None]) -> Gate:
    from foveate.evaluation.gate import compare_bundles  # noqa: PLC0415 - as above

    if data is None:
        raise ConfigError("which data is the bundle to be judged on? name it with --data, or promote with --no-gate")
    dataset = open_dataset(data)
    return lambda new, old: compare_bundles(dataset, new, old, margin=margin, say=say)


def _live(registry: Path, bundle: Path, before: str | None) -> StatePlace:
    """Return the store that the registry's server uses, or will use."""
    from foveate.releases.viewer_state import state_to_promote  # noqa: PLC0415 - as above
    from foveate.state.connect import file_of  # noqa: PLC0415 - as above

    live = state_to_promote(registry, bundle)
    file = file_of(live)
    if before is not None and file is not None and not file.exists():
        found = f"viewers' state is now {live}; if bundle {before} is served from another"
        out.print(f"note     {found}: promote again with that --state", markup=False)
    return live


def _add_histories(bundle: Path, live: StatePlace) -> None:
    """Add the events beside a bundle to the live store; where that fails, the bundle serves all the same."""
    from foveate.bundle import default_state  # noqa: PLC0415 - as above
    from foveate.releases.viewer_state import add_histories  # noqa: PLC0415 - as above
    from foveate.state.connect import without_password  # noqa: PLC0415 - as above

    shown = without_password(live)
    try:
        added = add_histories(bundle, live)
    except FoveateError as error:
        remedy = f"foveate state copy {default_state(bundle)} {shown}"
        out.print(f"note     the histories beside the bundle were not added ({error}): '{remedy}' does", markup=False)
        return
    if added is not None:
        events = f"{added.new_events:,} of {added.events:,} events beside the bundle are new"
        out.print(f"viewers  {events} in {shown}", markup=False)


def _named(registry: Path, live: StatePlace | None) -> str:
    """Return the option that names the live store, where serving would take another one by itself."""
    from foveate.releases.viewer_state import state_to_serve  # noqa: PLC0415 - as above
    from foveate.state.connect import without_password  # noqa: PLC0415 - as above

    usual = live is None or absolute(live) == absolute(state_to_serve(registry))
    return "" if usual or live is None else f" --state {without_password(live)}"


def _plain(entry: Entry) -> object:
    from foveate.core.config import to_dict  # noqa: PLC0415 - as above

    return to_dict(entry)
