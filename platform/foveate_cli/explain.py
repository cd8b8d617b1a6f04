"""``foveate explain``: why each item of a viewer's slate stands in it."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from textwrap import fill, shorten
from typing import Any

import click

from foveate_cli.common import json_option, out, reads, seed_option, state_option, write_json

_TITLE = 48
_INDENT = " " * 5


@click.command(short_help="Why each item of a slate stands in it.")
@reads("--bundle", "bundle", "The bundle to recommend with.")
@click.option("--user", "user_id", required=True, metavar="ID", help="The viewer.")
@click.option("--item", "item_id", metavar="ID", help="Tell of this item of the slate alone.")
@click.option(
    "-k", "size", type=click.IntRange(1, 1000), help="How many items; as the bundle's recipe says by default."
)
@state_option("Viewers' histories. Default: those of the bundle's registry, or the file beside the bundle.")
@seed_option("Seed of whatever is random; drawn by default.")
@json_option
def command(
    *,
    bundle: Path,
    user_id: str,
    item_id: str | None,
    size: int | None,
    state: str | None,
    seed: int | None,
    json_path: Path | None,
) -> None:
    """Say why each item of a viewer's slate stands in it.

    For each: the items of the history that raised its score and how faithful that is, what its features add, and
    what policy and rules made of its rank.

    Faithfulness: of as many items drawn at random from the history, how often taking them out lowers the score less
    than taking out those that are named does; 0.5 is chance. Attention says where the encoder looked, not why.
    """
    from foveate.api.recommender import load  # noqa: PLC0415 - torch costs seconds that --help is spared
    from foveate.recommend.explain import explain_item  # noqa: PLC0415

    with load(bundle, state=state) as model:
        answer = model.explain(user_id, k=size, seed=seed)
    items = answer.items if item_id is None else (explain_item(answer.explanation, item_id),)
    out.print(answer.heading, markup=False)
    for item in items:
        _print(asdict(item))
    if not items:
        out.print("The slate is empty; 'foveate recommend' says why.")
    explanation, context = answer.explanation, answer.context
    head = {"user_id": user_id, "bundle_id": explanation.bundle_id, "simulated": answer.simulated}
    answers = [finite(asdict(item)) for item in items]
    pinned = {"state_version": explanation.state_version, "now": context.now, "seed": context.seed}
    write_json(json_path, {**head, **pinned, "items": answers})


def finite(value: Any) -> Any:
    """Return plain values with None for every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print(item: dict[str, Any]) -> None:
    out.print(
        f"\n{item['position'] + 1:3d}  {_called(item)}  (score {item['score']:.3f}, rank {item['rank']})", markup=False
    )
    _line(item["sentence"])
    if item["history"]:
        parts = [f"{_called(one)} {one['share']:.0%}" for one in item["history"][:5]]
        _line(f"share of its score by {item['carried_by']}: {', '.join(parts)}{_faith(item['faithfulness'])}")
    if item["attention"]:
        parts = [f"{_called(one)} {one['share']:.0%}" for one in item["attention"]]
        _line(f"attention looked at: {', '.join(parts)}{_faith(item['attention_faithfulness'])}")
    parts = [f"{one['feature']} {one['value']:+.3f}" for one in item["contributions"]]
    _line(f"score: {', '.join(parts)}, others {item['others']:+.3f}, base {item['base']:+.3f}")


def _line(text: str) -> None:
    out.print(fill(text, out.width, initial_indent=_INDENT, subsequent_indent=_INDENT), markup=False)


def _called(one: dict[str, Any]) -> str:
    return shorten(one["title"], _TITLE, placeholder="…") if one["title"] else str(one["item_id"])


def _faith(value: float | None) -> str:
    return "" if value is None else f" (faithfulness {value:.2f})"
