"""A whole training on a node of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from foveate.api.training import seed_state, train
from foveate.bundle import Bundle
from foveate.data.dataset import open_dataset
from foveate.recommend.recipe import Recipe
from foveate.state.connect import StatePlace
from foveate.storage.files import check_free
from foveate.training import Upto
from foveate_cluster.remote import run_on_cluster
from foveate_cluster.workers import grower_of, worker_group_of


def train_on_cluster(
    data: Path,
    recipe: Recipe,
    *,
    out: Path,
    address: str,
    state: StatePlace | None = None,
    upto: Upto = "test",
    parent: Path | None = None,
    origin: Mapping[str, Any] | None = None,
    progress: Callable[[str], None],
) -> Bundle:
    """Train as :func:`foveate.train` does, on a cluster; every node sees the folders under the same paths.

    Parameters
    ----------
    address
        The running Ray cluster.

    Raises
    ------
    FoveateError
        As :func:`foveate.train`, or no cluster answers.
    """
    check_free(out)
    replaced = parent.resolve() if parent else None
    how: dict[str, Any] = {"upto": upto, "parent": replaced, "origin": origin}
    run_on_cluster(_train, data.resolve(), recipe, out.resolve(), address=address, progress=progress, **how)
    if state is not None:
        seed_state(state, open_dataset(data), progress)
    return Bundle.load(out)


def _train(
    data: Path,
    recipe: Recipe,
    out: Path,
    *,
    upto: Upto,
    parent: Path | None,
    origin: Mapping[str, Any] | None,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Train here; the bundle is read from its folder, not sent."""
    train(
        open_dataset(data),
        recipe,
        out=out,
        upto=upto,
        parent=parent,
        origin=origin,
        progress=progress,
        grower=grower_of(recipe.ranker),
        worker_group=worker_group_of(recipe.train, out.parent),
    )
