"""``foveate why-not``: where a video fell on its way to a viewer's slate."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import click

from foveate.core.errors import NotFoundError
from foveate_cli.common import json_option, out, reads, seed_option, state_option, write_json
from foveate_cli.explain import finite


@click.command("why-not", short_help="Why an item is not in a slate.")
@reads("--bundle", "bundle", "The bundle to recommend with.")
@click.option("--user", "user_id", required=True, metavar="ID", help="The viewer.")
@click.option("--item", "item_id", required=True, metavar="ID", help="The item.")
@click.option(
    "-k", "size", type=click.IntRange(1, 1000), help="How many items; as the bundle's recipe says by default."
)
@click.option(
    "--max-maturity", type=click.IntRange(0, 99), help="Highest minimum age that the request allows, in years."
)
@click.option("--region", metavar="NAME", help="Where the viewer is.")
@state_option("Viewers' histories. Default: those of the bundle's registry, or the file beside the bundle.")
@seed_option("Seed of whatever is random; drawn by default.")
@json_option
def command(
    *,
    bundle: Path,
    user_id: str,
    item_id: str,
    size: int | None,
    max_maturity: int | None,
    region: str | None,
    state: str | None,
    seed: int | None,
    json_path: Path | None,
) -> None:
    """Say where an item fell on its way to a viewer's slate.

    It was unknown to the catalogue, filtered, not retrieved by any source, ranked below the slate, or displaced by a
    rule or the policy; or it is in the slate. Of an unknown item the exit status is 2.
    """
    from foveate.api.recommender import load  # noqa: PLC0415 - torch costs seconds that --help is spared
    from foveate.core.messages import Filters  # noqa: PLC0415

    filters = Filters(max_maturity=max_maturity, region=region)
    with load(bundle, state=state) as model:
        found = model.why_not(user_id, item_id, k=size, filters=filters, seed=seed)
    answer, context = found.answer, found.context
    shown = {field.name: getattr(answer, field.name) for field in fields(answer)}
    head = {"user_id": user_id, "bundle_id": context.bundle_id, "simulated": found.simulated}
    ranks = {"source_ranks": dict(answer.source_ranks)}
    write_json(json_path, finite({**head, **shown, **ranks, "now": context.now, "seed": context.seed}))
    if answer.where == "unknown":
        raise NotFoundError(f"{answer.sentence} Check the id, or name the bundle that knows it.")
    out.print(answer.sentence, markup=False)
