"""``foveate train``: a two-stage model from a dataset, as a bundle that can be served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from foveate.core.errors import ConfigError
from foveate.data.dataset import open_dataset
from foveate.storage.transfer import is_address
from foveate_cli.common import (
    address_option,
    config_options,
    json_option,
    makes,
    out,
    place,
    read_config,
    reads,
    state_option,
    telling,
    usual_protocol,
    write_json,
)
from foveate_cluster.workers import grower_of, worker_group_of

if TYPE_CHECKING:
    from foveate.bundle import Bundle
    from foveate.recommend.recipe import Recipe

Upto = Literal["test", "all"]


@click.command(short_help="Train a model and write its bundle.")
@reads("--data", "dataset", "Dataset folder.")
@makes("Bundle folder to make, or its address; it must not hold anything yet.")
@state_option("The live store of viewers, which gets their histories too; needed where --out is an address.")
@place("--from", "Train a trial of this sweep, which 'foveate tune' made: its folder or address.")
@click.option(
    "--pick",
    metavar="knee|best|TRIAL",
    help="Which trial of the sweep: the knee of its Pareto front, the best by its first objective, or one by its name "
    "or number. [default: the knee of several objectives, the best of one]",
)
@click.option(
    "--upto",
    type=click.Choice(["test", "all"]),
    default="test",
    show_default=True,
    help="Learn from what lies before the test's window, so that it can still be evaluated, or from all of the log.",
)
@reads("--parent", "bundle", "The bundle that this one replaces: its id goes into the new one.", required=False)
@config_options
@address_option
@json_option
def command(
    *,
    data: Path,
    out: str,
    state: str | None,
    upto: Upto,
    parent: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    address: str | None,
    json_path: Path | None,
    pick: str | None,
    **other: str | None,
) -> None:
    """Train candidate sources and re-ranker, and write them as a bundle with viewers' histories beside it.

    How to train comes from a trial of a sweep, from --config with a recipe, or from the defaults; KEY=VALUE changes
    settings of the recipe, such as candidates=200.

    A bundle from a sweep is also written to W&B as an artifact, in the sweep's group and mode.

    train.workers=4 has four processes over Ray train the encoder together; with train.shard_items=true each of them
    keeps the vectors of its own part of the items, for a catalogue that one GPU does not hold.

    With --address the data and the bundle must be the same folders on every node; without it they may be at addresses
    such as s3://BUCKET/BUNDLE.
    """
    from foveate.api.training import check_targets, train  # noqa: PLC0415 - torch costs seconds that --help is spared

    # "from" is a word of Python's own.
    sweep = other["from"]
    recipe, origin = _recipe(data, sweep, config, overrides, pick)
    _check_targets(out, state, address)
    with telling() as say:
        if address is None:
            worker_group = worker_group_of(recipe.train, None if is_address(out) else Path(out).parent.resolve())
            how: dict[str, Any] = {"grower": grower_of(recipe.ranker), "worker_group": worker_group, "progress": say}
            bundle = train(
                open_dataset(data), recipe, out=out, state=state, upto=upto, parent=parent, origin=origin, **how
            )
        else:
            from foveate_cluster.training import train_on_cluster  # noqa: PLC0415 - Ray starts slowly

            say(f"training on the cluster at {address}")
            check_targets(out, state)
            paths: dict[str, Any] = {"out": Path(out), "state": state, "parent": parent, "address": address}
            bundle = train_on_cluster(data, recipe, upto=upto, origin=origin, progress=say, **paths)
        if sweep is not None:
            from foveate_tune.tracking.base import keep_bundle  # noqa: PLC0415 - Ray starts slowly

            keep_bundle(sweep, bundle, say)
    show(bundle, out, _next(out, data, state, parent))
    write_json(json_path, {"bundle": out, "bundle_id": bundle.bundle_id, "metrics": dict(bundle.manifest.metrics)})


def show(bundle: Bundle, place: str | None = None, then: Sequence[str] = ()) -> None:
    """Print what was made, what it is worth, and the commands that come next."""
    manifest, path = bundle.manifest, place or str(bundle.path)
    out.print(f"bundle      {bundle.bundle_id} in {path}, trained on {manifest.data}", markup=False)
    for model, row in sorted(manifest.metrics["validation"].items(), key=lambda pair: -pair[1].get("ndcg@10", 0.0)):
        figures = ", ".join(f"{name} {row[name]:.4f}" for name in ("ndcg@10", "recall@10") if name in row)
        out.print(f"validation  {model:<18} {figures}", markup=False)
    out.print(f"card        {path}/card.md", markup=False)
    for line in then or [f"foveate serve --bundle {path}"]:
        out.print(f"next        {line}", markup=False)


def _check_targets(out: str, state: str | None, address: str | None) -> None:
    """Say before the training what would fail after it."""
    if is_address(out) and address is not None:
        raise ConfigError(f"--out '{out}': with --address, name a folder that every node sees")
    if is_address(out) and state is None:
        raise ConfigError(f"--out '{out}': say with --state where viewers' histories go; they are no part of a bundle")


def _next(made: str, data: Path, state: str | None, parent: Path | None) -> list[str]:
    """Return the commands that serve the bundle with the histories that are live: those of what it replaces, if any."""
    from foveate.bundle import default_state, registry_of  # noqa: PLC0415
    from foveate.state.connect import without_password  # noqa: PLC0415

    if state is not None:
        return [f"foveate serve --bundle {made} --state {without_password(state)}"]
    registry = registry_of(parent) if parent else None
    if registry is not None:
        return [f"foveate promote {made} --data {data} --registry {registry}"]
    if parent is None or not default_state(parent).is_file():
        return [f"foveate serve --bundle {made}"]
    live = default_state(parent)
    return [
        f"foveate state copy {default_state(Path(made))} {live} --histories-only",
        f"foveate serve --bundle {made} --state {live}",
    ]


def _recipe(
    data: Path, sweep: str | Path | None, config: Path | None, overrides: tuple[str, ...], pick: str | None = None
) -> tuple[Recipe, dict[str, Any] | None]:
    """Return how to train, and which sweep and trial say so."""
    from foveate.recommend.recipe import Recipe  # noqa: PLC0415

    if sweep is None:
        if pick is not None:
            raise ConfigError(f"--pick {pick}: of which sweep? name it with --from")
        return read_config(Recipe, config, overrides, base=Recipe(), usual=usual_protocol(data)), None
    if config is not None:
        raise ConfigError("--from and --config each say how to train: name one; KEY=VALUE changes either")
    from foveate_tune.results.pick import read_pick  # noqa: PLC0415 - Ray starts slowly

    picked = read_pick(sweep, pick)
    recipe = read_config(Recipe, None, overrides, base=picked.recipe)
    return recipe, picked.origin
