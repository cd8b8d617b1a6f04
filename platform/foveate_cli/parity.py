"""``foveate parity``: remakes the newest served slates offline, and says in what they differ."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from foveate_cli.common import json_option, out, reads, state_option, working, write_json

if TYPE_CHECKING:
    from foveate.replay.parity import Parity

_SHOWN = 50
"""How many differences the table holds; the JSON has all."""


@click.command(short_help="Remake served slates offline and compare.")
@state_option("What recorded the requests, such as runs/bundle.state.sqlite.", required=True)
@reads("--bundle", "bundle", "The bundle that answered. Default: where it lay when it served.", required=False)
@click.option("--last", type=click.IntRange(1), default=100, show_default=True, help="How many requests, newest first.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=1e-5,
    show_default=True,
    help="Largest difference of a score or feature that counts as the same, relative and absolute.",
)
@json_option
def command(*, state: str, bundle: Path | None, last: int, tolerance: float, json_path: Path | None) -> None:
    """Make the newest served slates again, each by the bundle, history, moment and seed of its record.

    Items, places and sources must be equal, scores and features within --tolerance. What a lesser answer stood in for,
    or whose bundle is gone, is passed and counted.

    Exit status: 0 all are the same; 1 some differ, or none could be compared; 2 the file or the bundle cannot be used.
    """
    from foveate.replay.parity import parity  # noqa: PLC0415 - torch costs seconds that --help is spared

    with working("remaking", last) as advance:
        result = parity(state, last=last, tolerance=tolerance, bundle=bundle, progress=lambda: advance("", 1))
    _print(result, tolerance)
    write_json(json_path, _payload(result, tolerance))
    if result.different or not result.compared:
        raise click.exceptions.Exit(1)


def _print(result: Parity, tolerance: float) -> None:
    from foveate.replay.parity import rows  # noqa: PLC0415 - as above

    found = list(rows(result))
    if found:
        table = Table(box=None, pad_edge=False)
        for name in ("request", "viewer", "place", "what", "was", "now"):
            table.add_column(name, overflow="fold")
        for row in islice(found, _SHOWN):
            place = "" if row["position"] is None else str(row["position"])
            cells = (row["request_id"], row["user_id"], place, row["what"], _cell(row["was"]), _cell(row["now"]))
            # A viewer's id may hold what rich would take for markup.
            table.add_row(*(str(cell).replace("[", r"\\[") for cell in cells))
        out.print(table)
        if len(found) > _SHOWN:
            out.print(f"... and {len(found) - _SHOWN:,} more differences; --json FILE has all", markup=False)
    for because in sorted({one.because for one in result.passed}):
        count = sum(one.because == because for one in result.passed)
        out.print(f"passed     {count:,}: {because}", markup=False)
    same = len(result.compared) - len(result.different)
    out.print(f"same       {same:,} of {len(result.compared):,} slates within {tolerance:g}", markup=False)


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _payload(result: Parity, tolerance: float) -> dict[str, Any]:
    from foveate.replay.parity import rows  # noqa: PLC0415 - as above

    return {
        "tolerance": tolerance,
        "compared": len(result.compared),
        "different": len(result.different),
        "differences": list(rows(result)),
        "passed": [{"request_id": one.request_id, "because": one.because} for one in result.passed],
    }
