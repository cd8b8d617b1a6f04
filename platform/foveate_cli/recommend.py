"""``foveate recommend``: a slate for one viewer, without a server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from textwrap import shorten
from typing import Any

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from foveate.bundle import Bundle, default_state
from foveate.messages import RecommendRequest, RequestContext, Slate
from foveate.pipeline import LocalStages, make_context, recommend
from foveate.state.sqlite import SqliteState, utc_micros
from foveate_cli.common import folder, json_option, out, write_json

_SOURCES_WIDTH = 13
_NUMBERS_WIDTH = 24  # place, score, and what lies between the columns
_LEAST_TITLE = 12


@click.command(short_help="A slate for one viewer, no server.")
@folder("--bundle", "The bundle to recommend with.")
@click.option("--user", "user_id", required=True, metavar="ID", help="The viewer; an unknown one gets a cold slate.")
@click.option(
    "-k", "size", type=click.IntRange(1, 1000), help="How many items; as the bundle's recipe says by default."
)
@folder("--state", "Viewers' histories. Default: <bundle>.state.sqlite beside the bundle.", required=False)
@click.option("--seed", type=int, help="Seed of whatever is random; drawn, and shown, by default.")
@json_option
def command(
    *, bundle: Path, user_id: str, size: int | None, state: Path | None, seed: int | None, json_path: Path | None
) -> None:
    """Recommend for one viewer in this process: no server, nothing is recorded."""
    loaded = Bundle.load(bundle)
    request = RecommendRequest(user_id, k=size or loaded.model.recipe.slate_size, seed=seed)
    context = make_context(request, loaded.bundle_id, clock=utc_micros)
    with SqliteState(state or default_state(bundle), create=False) as viewers:
        slate = asyncio.run(recommend(request, context, LocalStages(loaded.model, viewers)))
    _print(loaded, slate)
    write_json(json_path, _payload(loaded, slate, context))


def _print(bundle: Bundle, slate: Slate) -> None:
    stamp = " [simulated]" if bundle.manifest.simulated else ""
    if slate.state_version == 0:
        out.print(f"Viewer '{slate.user_id}' has no history here: this is a cold slate.", markup=False)
    title = escape(f"For {slate.user_id}, by bundle {slate.bundle_id}{stamp}")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    for name in ("title", "item", "channel"):
        table.add_column(name, no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("from", min_width=_SOURCES_WIDTH)
    rows = _rows(bundle, slate)
    room = _room_for_titles(rows)
    for item, row in zip(slate.items, rows, strict=True):
        texts = (shorten(row["title"] or "", room, placeholder="…"), item.item_id, row["channel_id"] or "")
        score, sources = f"{item.score:.3f}", ", ".join(item.sources)
        table.add_row(str(item.position + 1), *map(escape, texts), score, sources)
    out.print(table)
    if not slate.items:
        out.print("Nothing is left to recommend: everything was seen, or is not yet available.")


def _room_for_titles(rows: list[dict[str, Any]]) -> int:
    """Return how wide a title may be, so that nothing else is cut."""
    others = sum(max((len(row[name] or "") for row in rows), default=0) for name in ("item_id", "channel_id"))
    return max(_LEAST_TITLE, out.width - others - _SOURCES_WIDTH - _NUMBERS_WIDTH)


def _rows(bundle: Bundle, slate: Slate) -> list[dict[str, Any]]:
    catalog = bundle.model.catalog
    return [catalog.frame.row(catalog.items.code(item.item_id), named=True) for item in slate.items]


def _payload(bundle: Bundle, slate: Slate, context: RequestContext) -> dict[str, Any]:
    return {
        "user_id": slate.user_id,
        "bundle_id": slate.bundle_id,
        "simulated": bundle.manifest.simulated,
        "policy_id": slate.policy_id,
        "cold": slate.state_version == 0,
        "state_version": slate.state_version,
        "now": context.now,
        "seed": context.seed,
        "relaxed": list(slate.relaxed),
        "relevance_paid": slate.relevance_paid,
        "items": [
            {
                "position": item.position,
                "item_id": item.item_id,
                "title": row["title"],
                "channel_id": row["channel_id"],
                "score": item.score,
                "sources": list(item.sources),
            }
            for item, row in zip(slate.items, _rows(bundle, slate), strict=True)
        ],
    }
