"""``foveate evaluate``: baselines, blends, two-stage and slate side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foveate.core.config import check_seed
from foveate.core.errors import ConfigError
from foveate.data.dataset import open_dataset
from foveate_cli.common import (
    address_option,
    config_options,
    json_option,
    read_config,
    reads,
    telling,
    usual_protocol,
    write_json,
)
from foveate_cli.evaluation_tables import show
from foveate_cluster.workers import grower_of, worker_group_of

if TYPE_CHECKING:
    from foveate.data.split import Protocol
    from foveate.evaluation import Asking, Evaluation
    from foveate.evaluation.asking import TargetChoice
    from foveate.recommend.recipe import Recipe


@click.command(short_help="Compare baselines and the model, honestly.")
@reads("--data", "dataset", "Dataset folder.")
@reads("--bundle", "bundle", "Evaluate this bundle on the newest window, instead of training.", required=False)
@click.option(
    "--protocol",
    type=click.Choice(["leave-one-out", "time"]),
    help="How the log is cut. Without it: the bundle's own, or both where the data has times.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Train so many times; figures are means."
)
@click.option(
    "--targets",
    type=click.Choice(["all", "last", "successive"]),
    default="all",
    show_default=True,
    help="By time: ask at the cut for all that a viewer liked after it, only for the last of it, or for each in turn.",
)
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="By time: test so many windows that follow one another, with a model trained up to each.",
)
@click.option(
    "--ageing", is_flag=True, help="By time: also ask the window part by part, with a model that stays as it was."
)
@address_option
@json_option
@config_options
def command(
    *,
    data: Path,
    bundle: Path | None,
    protocol: Protocol | None,
    seeds: int,
    targets: TargetChoice,
    windows: int,
    ageing: bool,
    address: str | None,
    json_path: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Put popularity, neighbours, attention, blends and two-stage side by side on a window that no training saw.

    Every item is ranked, what a viewer has met is left out, ties stand at mid-rank; intervals are 95 % bootstrap
    intervals over viewers. Debiased figures count a target the more, the less popular it was. KEY=VALUE overrides
    settings of the recipe, such as candidates=200.
    """
    from foveate.evaluation import Asking  # noqa: PLC0415 - the sources bring torch along
    from foveate.recommend.recipe import Recipe  # noqa: PLC0415 - the sources it lists bring torch along

    if bundle is not None and (config or overrides or seeds > 1):
        raise ConfigError("--bundle is trained already: --config, KEY=VALUE and --seeds are for training")
    recipe = read_config(Recipe, config, overrides, base=Recipe())
    check_seed(recipe.seed + seeds - 1)
    asking = Asking(targets, windows, ageing)
    if protocol is None and bundle is None:
        usual_protocol(data)
    evaluations = _evaluate(
        data=data, recipe=recipe, protocol=protocol, seeds=seeds, asking=asking, bundle=bundle, address=address
    )
    for evaluation in evaluations:
        show(evaluation)
    payload = [evaluation.to_json() for evaluation in evaluations]
    # One protocol is one object; several are a list of them.
    write_json(json_path, payload[0] if len(payload) == 1 else payload)


def _evaluate(
    *,
    data: Path,
    recipe: Recipe,
    protocol: Protocol | None,
    seeds: int,
    asking: Asking,
    bundle: Path | None,
    address: str | None,
) -> list[Evaluation]:
    from foveate.api.evaluating import evaluate  # noqa: PLC0415 - as above
    from foveate.evaluation import evaluate_folder  # noqa: PLC0415

    grower = grower_of(recipe.ranker)
    # On a cluster workers may lie on other nodes, which see the same folder beside the data set.
    worker_group = worker_group_of(recipe.train, data.resolve().parent if address else None)
    with telling() as say:
        workers: dict[str, Any] = {"progress": say, "grower": grower, "worker_group": worker_group}
        if address is None:
            trained = {"bundle": bundle} if bundle else {"recipe": recipe, "seeds": seeds}
            asked: dict[str, Any] = {"targets": asking.targets, "windows": asking.windows, "ageing": asking.ageing}
            return list(evaluate(open_dataset(data), protocol=protocol, **trained, **asked, **workers).reports)
        from foveate_cluster.remote import run_on_cluster  # noqa: PLC0415 - Ray starts slowly

        there = bundle.resolve() if bundle else None
        chosen = tuple(range(recipe.seed, recipe.seed + seeds))
        call = (evaluate_folder, data.resolve(), recipe, [protocol] if protocol else [], chosen)
        return run_on_cluster(*call, asking=asking, bundle=there, address=address, **workers)
