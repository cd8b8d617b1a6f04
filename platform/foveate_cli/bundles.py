"""``foveate bundles``: what served when, what it was worth, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foveate.core.config import to_dict
from foveate.storage.transfer import is_address
from foveate_cli.common import hanging, json_option, out, registry_option, write_json

if TYPE_CHECKING:
    from foveate.releases import Entry

_METRIC = "ndcg@10"
_INDENT = " " * 8


@click.command(short_help="List what served, and why.")
@registry_option
@json_option
def command(*, registry: str, json_path: Path | None) -> None:
    """List the history of a registry, oldest first: promotions, refusals and rollbacks.

    The star marks what serves. The figure of a validation was measured before that bundle's last training, the gate's
    when it was to be promoted.
    """
    from foveate.releases import Releases  # noqa: PLC0415 - torch costs seconds that --help is spared

    releases = Releases(registry)
    entries, changes, current = releases.history(), releases.changes(), releases.current()
    for entry in entries:
        for line in _lines(entry, serves=bool(changes) and entry is _newest(entries, changes[-1])):
            out.print(line, markup=False)
    place = f"{registry}/current" if current is None or not is_address(registry) else releases.path(current)
    out.print(f"serves  {f'{current}: {place}' if current else 'nothing yet'}", markup=False)
    write_json(json_path, {"current": current, "history": [_plain(entry) for entry in entries]})


def runs(entry: Entry) -> dict[str, str]:
    """Return the sweep, trial and run that chose a bundle's settings, as far as they are known."""
    origin = dict(entry.sweep or {})
    known: dict[str, str] = {name: str(origin[name]) for name in ("sweep", "trial", "run") if name in origin}
    if "sweep" in known and "trial" in known:
        # The id under which a sweep tracks a trial.
        known.setdefault("run", f"{known['sweep']}-{known['trial']}")
    return known


def _newest(entries: tuple[Entry, ...], wanted: Entry) -> Entry:
    return next(entry for entry in reversed(entries) if entry == wanted)


def _lines(entry: Entry, *, serves: bool) -> Iterator[str]:
    when = entry.at.replace("T", " ").removesuffix("+00:00")
    by = f"  by {entry.who}" if entry.who else ""
    yield f"{'*' if serves else ' '} {when}  {entry.action:<11}  {entry.bundle}{by}"
    if entry.because:
        yield hanging(f"{_INDENT}because     ", entry.because)
    if entry.action in ("rollback", "interrupted"):
        return
    figures = entry.metrics.get("validation", {}).get("two-stage", {})
    if _METRIC in figures:
        yield f"{_INDENT}validation  two-stage {_METRIC} {figures[_METRIC]:.4f}"
    yield hanging(f"{_INDENT}gate        ", _gate(entry))
    origin = ", ".join(f"{name} {value}" for name, value in runs(entry).items()) or "no sweep"
    data = entry.data or "data without a title"
    yield hanging(f"{_INDENT}from        ", f"{origin}; {data}, up to {entry.upto}")


def _gate(entry: Entry) -> str:
    gate = entry.gate
    if gate is None:
        return "not asked"
    share = f" {gate.change()}," if gate.percent is not None else ""
    return f"{gate.metric} against {gate.against}:{share} margin {gate.margin:g} %, {gate.viewers:,} viewers"


def _plain(entry: Entry) -> Any:
    return {**to_dict(entry), "origin": runs(entry)}
