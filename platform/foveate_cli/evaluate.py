"""``foveate evaluate``: baselines, blends, two-stage and slate side by side."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from foveate.core.config import check_seed
from foveate.core.errors import ConfigError
from foveate.core.metrics import Difference, Interval
from foveate.data.dataset import open_dataset
from foveate_cli.common import (
    address_option,
    config_options,
    json_option,
    out,
    read_config,
    reads,
    telling,
    usual_protocol,
    write_json,
)
from foveate_cluster.workers import grower_of, worker_group_of

if TYPE_CHECKING:
    from foveate.data.split import Protocol
    from foveate.evaluation import Evaluation
    from foveate.recommend.recipe import Recipe

_LABELS = {
    "recent_popularity": "recent popularity",
    "item_knn": "item-KNN",
    "covisitation": "co-visitation",
    "ease": "EASE",
    "als": "ALS",
    "blend": "z-score blend",
}
BLENDS = ("blend", "logistic blend")
_HEADS = {"ndcg@10": "NDCG", "recall@10": "Recall", "recall@200": "Recall"}
_HEADS |= {"coverage@10": "coverage", "ild@10": "diversity"}


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
@address_option
@json_option
@config_options
def command(
    *,
    data: Path,
    bundle: Path | None,
    protocol: Protocol | None,
    seeds: int,
    address: str | None,
    json_path: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Put popularity, neighbours, attention, blends and two-stage side by side on a window that no training saw.

    Every item is ranked, what a viewer has met is left out, ties stand at mid-rank; intervals are 95 % bootstrap
    intervals over viewers. KEY=VALUE overrides settings of the recipe, such as candidates=200.
    """
    from foveate.recommend.recipe import Recipe  # noqa: PLC0415 - the sources it lists bring torch along

    if bundle is not None and (config or overrides or seeds > 1):
        raise ConfigError("--bundle is trained already: --config, KEY=VALUE and --seeds are for training")
    recipe = read_config(Recipe, config, overrides, base=Recipe())
    check_seed(recipe.seed + seeds - 1)
    if protocol is None and bundle is None:
        usual_protocol(data)
    evaluations = _evaluate(data=data, recipe=recipe, protocol=protocol, seeds=seeds, bundle=bundle, address=address)
    for evaluation in evaluations:
        show(evaluation)
    payload = [evaluation.to_json() for evaluation in evaluations]
    # One protocol is one object; several are a list of them.
    write_json(json_path, payload[0] if len(payload) == 1 else payload)


def show(evaluation: Evaluation) -> None:
    """Print the table, what two-stage gains, and what the caps did."""
    out.print(_table(evaluation))
    out.print(f"two-stage against {_gain(evaluation, evaluation.best_source)}, the best single source")
    for blend in (row.model for row in evaluation.rows if row.model in BLENDS):
        out.print(f"two-stage against {_gain(evaluation, blend)}, of the same sources on the same candidates")
    out.print(_caps_line(evaluation))
    for note in evaluation.notes:
        out.print(escape(note))


def _evaluate(
    *,
    data: Path,
    recipe: Recipe,
    protocol: Protocol | None,
    seeds: int,
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
            return list(evaluate(open_dataset(data), protocol=protocol, **trained, **workers).reports)
        from foveate_cluster.remote import run_on_cluster  # noqa: PLC0415 - Ray starts slowly

        there = bundle.resolve() if bundle else None
        chosen = tuple(range(recipe.seed, recipe.seed + seeds))
        call = (evaluate_folder, data.resolve(), recipe, [protocol] if protocol else [], chosen)
        return run_on_cluster(*call, bundle=there, address=address, **workers)


def _table(evaluation: Evaluation) -> Table:
    trained = f"bundle {evaluation.bundle}" if evaluation.bundle else f"seeds {', '.join(map(str, evaluation.seeds))}"
    if len(evaluation.seeds) == 1:
        trained = trained.replace("seeds", "seed")
    asked = f"{evaluation.viewers:,} viewers, {evaluation.targets:,} targets"
    title = f"{evaluation.protocol}: {evaluation.data} · {asked} · {trained}"
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for name, head in _HEADS.items():
        table.add_column(f"{head}\n@{name.partition('@')[2]}", justify="right", no_wrap=True)
    for row in evaluation.rows:
        cells = [_cell(row.metrics[name]) for name in _HEADS]
        if row.model == "slate":
            # A slate ends after ten: what lies deeper is not shown to anyone.
            cells[list(_HEADS).index("recall@200")] = "-"
        style = "bold" if row.model == "two-stage" else None
        table.add_row(_LABELS.get(row.model, row.model), *cells, style=style)
    return table


def _cell(interval: Interval) -> str:
    if not isfinite(interval.mean):
        return "-"
    # Two short lines keep the table within 80 columns.
    bounds = f"{interval.low:.3f}-{interval.high:.3f}".replace("0.", ".")
    return f"{interval.mean:.4f}\n[dim]{bounds}[/dim]"


def _gain(evaluation: Evaluation, against: str) -> str:
    difference = evaluation.compared(against)
    return f"{_LABELS.get(against, against)}{_stamp(evaluation)}: NDCG@10 {_signed(difference)}"


def _signed(difference: Difference) -> str:
    percent, absolute = difference.percent, difference.absolute
    share = f"{percent.mean:+.1f} % ({percent.low:+.1f} to {percent.high:+.1f})"
    return f"{share}, {absolute.mean:+.4f} ({absolute.low:+.4f} to {absolute.high:+.4f})"


def _caps_line(evaluation: Evaluation) -> str:
    caps = evaluation.caps
    if not caps.rules:
        return f"no constraints are set{_stamp(evaluation)}"
    kept = "no slate breaks one" if not caps.broken else f"{caps.broken:,} slates BREAK one: please report it"
    yielded = f"; soft ones yielded in {100 * caps.relaxed:.0f} %" if caps.relaxed else ""
    details = f"{', '.join(caps.rules)}; {kept}{yielded}"
    return f"constraints bound in {100 * caps.bound:.0f} % of slates ({details}){_stamp(evaluation)}"


def _stamp(evaluation: Evaluation) -> str:
    return escape(" [simulated]") if evaluation.simulated else ""
