"""``foveate recommend``: a slate for one viewer, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import Any

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from foveate.bundle import Bundle
from foveate.core.errors import RequestError
from foveate.core.messages import PastEvent, RecommendRequest, RequestContext, Slate
from foveate.recommend.pipeline import LocalStages, make_context, recommend
from foveate.releases.live import state_of
from foveate.state.base import utc_micros
from foveate.state.opening import open_viewers
from foveate_cli.common import json_option, out, reads, seed_option, state_option, write_json

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
    loaded = Bundle.load(bundle)
    request = RecommendRequest(
        user_id,
        k=size or loaded.model.recipe.slate_size,
        surface=surface or ("session" if watched else "home"),
        now=None if moment is None else _micros(moment),
        seed=seed,
        history=tuple(PastEvent(item_id) for item_id in watched) if watched else None,
        related_to=related_to,
        diversity=diversity,
    )
    context = make_context(request, loaded.bundle_id, clock=utc_micros)
    with open_viewers(state or state_of(bundle), create=False) as viewers:
        slate = asyncio.run(recommend(request, context, LocalStages(loaded.model, viewers)))
    _print(loaded, slate, request)
    write_json(json_path, _payload(loaded, slate, request, context))


def _micros(moment: str) -> int:
    try:
        time = datetime.fromisoformat(moment)
    except ValueError as error:
        raise RequestError(f"--now '{moment}' is not a time such as 2025-03-17T18:00Z") from error
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1e6)


def _cold(slate: Slate, request: RecommendRequest) -> bool:
    return slate.state_version == 0 and not request.history


def _print(bundle: Bundle, slate: Slate, request: RecommendRequest) -> None:
    stamp = " [simulated]" if bundle.manifest.simulated else ""
    if slate.user_id and _cold(slate, request):
        out.print(f"Viewer '{slate.user_id}' has no history here: this is a cold slate.", markup=False)
    who = slate.user_id or "an anonymous visitor"
    title = escape(f"{request.surface.capitalize()} for {who}, by bundle {slate.bundle_id}{stamp}")
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


def _payload(bundle: Bundle, slate: Slate, request: RecommendRequest, context: RequestContext) -> dict[str, Any]:
    return {
        "user_id": slate.user_id,
        "surface": context.surface,
        "bundle_id": slate.bundle_id,
        "simulated": bundle.manifest.simulated,
        "policy_id": slate.policy_id,
        "cold": _cold(slate, request),
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
