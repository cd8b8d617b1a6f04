"""``foveate recommend``: a slate for one viewer, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from textwrap import shorten
from typing import Any

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from foveate.api.answers import Recommendations
from foveate.api.recommender import load
from foveate.core.errors import RequestError
from foveate_cli.common import json_option, out, reads, seed_option, state_option, write_json

_COLUMNS = {"title": "title", "item": "item_id", "channel": "channel_id"}
"""Columns of the table, each with its key; one that is empty in all rows is left out."""

_WIDE = 120
_SOURCES_WIDTH = 13
_NUMBERS_WIDTH = 24  # place, score, and what lies between the columns
_LEAST_TITLE = 12


@click.command(short_help="A slate on one surface, no server.")
@reads("--bundle", "bundle", "The bundle to recommend with.")
@click.option("--user", "user_id", metavar="ID", default="", help="The viewer; an unknown one gets a cold slate.")
@click.option("--surface", metavar="NAME", help="Where it is shown; see 'foveate variants surfaces'. Default: home.")
@click.option("--related-to", metavar="ID", help="The item that the surface 'related' starts from.")
@click.option("--watched", metavar="ID", multiple=True, help="What an anonymous visitor has watched, oldest first.")
@click.option("--diversity", type=click.FloatRange(0, 1), help="Strength of the policy, in place of the recipe's.")
@click.option("--now", "moment", metavar="TIME", help="Moment to answer for, such as 2025-03-17T18:00Z. Default: now.")
@click.option(
    "-k", "size", type=click.IntRange(1, 1000), help="How many items; as the bundle's recipe says by default."
)
@state_option("Viewers' histories. Default: those of the bundle's registry, or the file beside the bundle.")
@seed_option("Seed of whatever is random; drawn, and shown, by default.")
@json_option
def command(
    *,
    bundle: Path,
    user_id: str,
    surface: str | None,
    related_to: str | None,
    watched: Sequence[str],
    diversity: float | None,
    moment: str | None,
    size: int | None,
    state: str | None,
    seed: int | None,
    json_path: Path | None,
) -> None:
    """Recommend in this process: no server, nothing is recorded.

    For a viewer (--user) or an anonymous visitor (--watched, on the surface 'session' unless another is named).
    """
    with load(bundle, state=state) as model:
        answer = model.recommend(
            user_id,
            k=size,
            surface=surface,
            watched=watched,
            related_to=related_to,
            diversity=diversity,
            now=None if moment is None else _time(moment),
            seed=seed,
        )
    _print(answer)
    write_json(json_path, _payload(answer))


def _time(moment: str) -> datetime:
    try:
        return datetime.fromisoformat(moment)
    except ValueError as error:
        raise RequestError(f"--now '{moment}' is not a time such as 2025-03-17T18:00Z") from error


def _print(answer: Recommendations) -> None:
    slate, rows = answer.slate, answer.frame().to_dicts()
    stamp = " [simulated]" if answer.simulated else ""
    if slate.user_id and answer.cold:
        out.print(f"Viewer '{slate.user_id}' has no history here: this is a cold slate.", markup=False)
    who = slate.user_id or "an anonymous visitor"
    title = escape(f"{answer.context.surface.capitalize()} for {who}, by bundle {slate.bundle_id}{stamp}")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    columns = {name: key for name, key in _COLUMNS.items() if any(row[key] for row in rows)}
    for name in columns:
        table.add_column(name, no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("from", min_width=_SOURCES_WIDTH, no_wrap=out.width < _WIDE)
    room = _room_for_titles(rows)
    for row in rows:
        row["title"] = shorten(row["title"] or "", room, placeholder="…")
        texts = [row[key] or "" for key in columns.values()]
        table.add_row(str(row["position"] + 1), *map(escape, texts), f"{row['score']:.3f}", _from(row["sources"]))
    if rows:
        out.print(table)
    else:
        out.print(answer.note, markup=False)


def _from(sources: list[str]) -> str:
    """Return the sources that offered an item: all where there is room, else one and how many others."""
    return ", ".join(sources) if out.width >= _WIDE or len(sources) < 2 else f"{sources[0]} +{len(sources) - 1}"


def _room_for_titles(rows: list[dict[str, Any]]) -> int:
    """Return how wide a title may be, so that nothing else is cut."""
    others = sum(max((len(row[name] or "") for row in rows), default=0) for name in ("item_id", "channel_id"))
    return max(_LEAST_TITLE, out.width - others - _SOURCES_WIDTH - _NUMBERS_WIDTH)


def _payload(answer: Recommendations) -> dict[str, Any]:
    slate, context = answer.slate, answer.context
    return {
        "user_id": slate.user_id,
        "surface": context.surface,
        "bundle_id": slate.bundle_id,
        "simulated": answer.simulated,
        "policy_id": slate.policy_id,
        "cold": answer.cold,
        "state_version": slate.state_version,
        "now": context.now,
        "seed": context.seed,
        "relaxed": list(slate.relaxed),
        "relevance_paid": slate.relevance_paid,
        "items": answer.frame().to_dicts(),
    }
