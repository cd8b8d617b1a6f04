"""From a dataset to a bundle."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from foveate.api.reading import Data, dataset_of, temporary_folder
from foveate.bundle import Bundle, default_state, verify
from foveate.core.config import from_dict, load_yaml
from foveate.core.errors import ConfigError
from foveate.core.progress import Progress
from foveate.data.dataset import Dataset
from foveate.data.split import allowed_protocols
from foveate.data.worker_group import WorkerGroup
from foveate.evaluation.figures import NDCG
from foveate.evaluation.outcomes import LOGISTIC, TWO_STAGE
from foveate.evaluation.validation import figures
from foveate.ranking.base import Ranker, RankerConfig
from foveate.ranking.blend import LogisticBlend
from foveate.ranking.ensemble import Ensemble, joined
from foveate.ranking.growing import Grower
from foveate.ranking.linear import Linear
from foveate.recommend.recipe import Recipe
from foveate.state.connect import StatePlace, open_viewers, unhurried
from foveate.state.seeding import seed
from foveate.state.sqlite.store import SqliteState
from foveate.storage.files import check_free
from foveate.storage.folder import Place
from foveate.storage.transfer import is_address, local_copy, new_folder
from foveate.training import Fitted, Upto, fit

Figures: TypeAlias = dict[str, dict[str, float]]
"""Mean metrics by model."""

RecipeLike: TypeAlias = Recipe | Mapping[str, Any] | str | Path | None


def train(
    data: Data,
    recipe: RecipeLike = None,
    *,
    out: Place | None = None,
    state: StatePlace | None = None,
    upto: Upto = "test",
    parent: Place | None = None,
    origin: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    grower: Grower | None = None,
    worker_group: WorkerGroup | None = None,
) -> Bundle:
    """Train candidate sources and re-ranker, and write them as a bundle with viewers' histories beside it.

    Parameters
    ----------
    data
        A dataset, or what :func:`foveate.read` makes one of.
    recipe
        How to train: a :class:`~foveate.recommend.recipe.Recipe`, settings such as ``{"candidates": 200}``, or the path
        of a YAML file of them. None takes the defaults. A ranker that is left at its default gives way to a logistic
        blend of the sources where that does as well on validation.
    out
        Bundle folder to make, or its address; None takes a temporary folder that goes when the process ends.
    state
        The live store of viewers, which gets their histories too; needed where ``out`` is an address.
    upto
        ``test`` learns from what lies before the test's window, so that it can still be evaluated; ``all`` from all.
    parent
        The bundle that this one replaces: its id goes into the new one.
    origin
        The sweep and the trial that chose the recipe.
    progress
        Called with one line of news a step.
    grower, worker_group
        What trains over several processes, where the recipe asks for that: see :mod:`foveate_cluster.workers`.

    Raises
    ------
    ConfigError
        The recipe or a place cannot be used.
    DataError
        The data cannot be used, or the log is too short to be cut.
    TrainingError
        There is nothing to learn from.
    OutputExistsError
        ``out`` already holds something.

    Examples
    --------
    >>> import foveate
    >>> data = foveate.simulate(viewers=120, items=80, days=14)
    >>> bundle = foveate.train(data, {"sources": ["covisitation", "popularity"]})
    >>> bundle.manifest.sources
    ('covisitation', 'popularity')
    """
    place = temporary_folder() / "bundle" if out is None else out
    check_targets(place, state)
    dataset = dataset_of(data)
    how = recipe_of(recipe, dataset)
    say = progress or _silent
    with new_folder(place) as path:
        bundle = _train(
            dataset,
            how,
            path,
            upto=upto,
            parent=parent,
            origin=origin,
            say=say,
            grower=grower,
            worker_group=worker_group,
        )
        if state is not None:
            seed_state(state, dataset, say)
    return Bundle.load(local_copy(place, verify)) if is_address(place) else bundle


def recipe_of(recipe: RecipeLike, dataset: Dataset) -> Recipe:
    """Return a recipe from whatever says it; a log without times is cut by order unless settings say otherwise.

    Raises
    ------
    ConfigError
        A setting is unknown or impossible, or the file cannot be read.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, (str, Path)):
        recipe = load_yaml(Path(recipe))
    settings = recipe or {}
    if not isinstance(settings, Mapping):
        raise ConfigError(f"recipe: settings by name or a path are expected, got {type(recipe).__name__}")
    return from_dict(Recipe, {**usual_settings(dataset), **settings})


def usual_settings(dataset: Dataset) -> dict[str, Any]:
    """Return what a recipe says for a dataset where nobody says otherwise: how a log without times is cut."""
    protocols = allowed_protocols(dataset.manifest.first)
    return {} if Recipe().protocol in protocols else {"protocol": protocols[0]}


def check_targets(out: Place, state: StatePlace | None) -> None:
    """Say before a training what would fail after it.

    Raises
    ------
    ConfigError
        ``out`` is an address, and nothing says where viewers' histories go.
    StateError
        The store cannot be used.
    """
    if is_address(out) and state is None:
        raise ConfigError(f"out '{out}': say with state where viewers' histories go; they are no part of a bundle")
    if state is not None:
        with open_viewers(state) as viewers:
            viewers.history("")


def seed_state(state: StatePlace, dataset: Dataset, say: Progress) -> None:
    """Add the histories of a dataset to a store of viewers.

    Raises
    ------
    StateError
        The store cannot be used.
    """
    with open_viewers(unhurried(state)) as viewers:
        viewers.prepare()
        say(f"the store of viewers: {seed(viewers, dataset)}")


def _train(
    dataset: Dataset,
    recipe: Recipe,
    path: Path,
    *,
    upto: Upto,
    parent: Place | None,
    origin: Mapping[str, Any] | None,
    say: Progress,
    grower: Grower | None,
    worker_group: WorkerGroup | None,
) -> Bundle:
    check_free(path)
    check_free(default_state(path))
    replaces = verify(local_copy(parent, verify)).bundle_id if parent else None
    say("step 1 of 3: a model that has not seen the newest windows, for the figures of the card")
    earlier = fit(dataset, recipe, upto="selection", progress=say, grower=grower, worker_group=worker_group)
    say("step 2 of 3: its figures on validation")
    if recipe.ranker == Recipe().ranker:
        recipe, rows = _best_on_validation(recipe, earlier, say)
    else:
        rows = figures(earlier, say)
    say(f"step 3 of 3: the model that serves, from all before '{upto}'; windows of step 1 are not fitted again")
    fitted = fit(dataset, recipe, upto=upto, progress=say, after=earlier, grower=grower, worker_group=worker_group)
    with _histories(dataset, default_state(path), say):
        return Bundle.save(
            fitted.model,
            path,
            data_hash=dataset.manifest.content_hash,
            data=dataset.title,
            simulated=dataset.manifest.simulated,
            parent=replaces,
            metrics={"validation": rows},
            sweep=origin,
            seeds=(recipe.seed,),
            upto=upto,
            learned_until=fitted.stage.now,
        )


def _best_on_validation(recipe: Recipe, fitted: Fitted, say: Progress) -> tuple[Recipe, Figures]:
    """Put in the place of a ranker what does as well or better on validation: a logistic blend, or an ensemble.

    Parameters
    ----------
    recipe
        Its ranker is the default one: what a user has named stays.
    fitted
        What that ranker was fitted on.

    Returns
    -------
    tuple of Recipe and Figures
        How to train what is shipped, and its figures beside those of the others.
    """
    name, training = type(recipe.ranker).name, fitted.training
    plain = [config.fit(training, recipe.seed) for config in (LogisticBlend(), Linear())]
    # The simplest first: where two do equally well, it is that one.
    others: dict[str, tuple[RankerConfig, Ranker]] = {
        LOGISTIC: (LogisticBlend(), plain[0]),
        Ensemble.name: (
            Ensemble((recipe.ranker, LogisticBlend(), Linear())),
            joined([fitted.model.ranker, *plain], training),
        ),
    }
    rows = figures(fitted, say, {other: ranker for other, (_, ranker) in others.items()})
    ndcg = {one: rows[one][NDCG] for one in (LOGISTIC, TWO_STAGE, *others)}
    best = max(ndcg, key=lambda one: ndcg[one])
    if best == TWO_STAGE:
        return recipe, rows
    say(f"{best} does as well as {name} on validation ({ndcg[best]:.4f} against {ndcg[TWO_STAGE]:.4f}): it is shipped")
    config, ranker = others[best]
    shipped = replace(recipe, ranker=config)
    # Asked once more, for its slates are others.
    again = figures(replace(fitted, model=replace(fitted.model, recipe=shipped, ranker=ranker)), say)
    kept = {other: rows[other] for other in others if other != best}
    return shipped, {**again, **kept, f"{TWO_STAGE} by {name}": rows[TWO_STAGE]}


@contextmanager
def _histories(dataset: Dataset, state: Path, say: Progress) -> Iterator[None]:
    """Write viewers' histories; the file is there only where the block ends well."""
    state.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{state.name}.", dir=state.parent) as scratch:
        staged = Path(scratch) / state.name
        with SqliteState(staged) as viewers:
            say(f"{seed(viewers, dataset).new:,} events of viewers in {state}")
        yield
        shutil.move(staged, state)


def _silent(line: str) -> None:
    del line
