"""Training a model from a dataset and a recipe, without ever letting a part see its own labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from foveate.data.catalog import Catalog
from foveate.data.dataset import Dataset
from foveate.data.events import Events
from foveate.data.split import Stage, Targets, Windows, label_stages, windows
from foveate.features.sets import FeatureSet
from foveate.messages import NO_TIME
from foveate.model import Model
from foveate.ranking.base import TrainingSet
from foveate.ranking.training import LabelWindow, training_set
from foveate.recipe import Recipe
from foveate.retrieval.base import CandidateSource, FitContext

Upto: TypeAlias = Literal["selection", "test", "all"]
"""What a model must not have seen: the selection's targets, the test's, or nothing."""

Progress: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Fitted:
    """A model with what it was fitted on.

    ``stage`` is the cut that the model has learned up to: its targets are unseen. ``training`` is what the ranker
    learned from, so that other rankers can be fitted on the very same candidates. ``fits`` are the sources and
    features of every window, by its name.
    """

    model: Model
    stage: Stage
    training: TrainingSet
    fits: Mapping[str, LabelWindow] = field(default_factory=dict)


def fit_model(dataset: Dataset, recipe: Recipe, *, upto: Upto = "test", progress: Progress | None = None) -> Model:
    """Train a model; see :func:`fit`."""
    return fit(dataset, recipe, upto=upto, progress=progress).model


def fit(
    dataset: Dataset,
    recipe: Recipe,
    *,
    upto: Upto = "test",
    progress: Progress | None = None,
    after: Fitted | None = None,
) -> Fitted:
    """Train sources, features and ranker.

    The ranker learns from label windows that lie before ``upto``, the selection's included where ``upto`` is later.
    For each of them the sources are fitted on what lies before it, so that no score a ranker trains on is of an item
    that the source has learned from. Then the sources and the item states are fitted once more, on all that lies
    before ``upto``: those are the model's own.

    Parameters
    ----------
    upto
        ``selection`` leaves the selection's and the test's targets unseen, for choosing settings; ``test`` leaves the
        test's unseen, for a figure; ``all`` learns from the whole log, for serving.
    progress
        Called with one line of news a step.
    after
        What was fitted up to an earlier stage of the same dataset by the same recipe: its windows are not fitted again.

    Raises
    ------
    DataError
        The log is too short to be cut.
    TrainingError
        A source cannot be fitted, or no source retrieved anything that a viewer went on to like.
    """
    catalog = dataset.catalog()
    positive = recipe.signals.positive or dataset.manifest.positive_kinds
    events = dataset.log().encode(dataset.users(), catalog.items, recipe.signals, positive)
    cut = windows(events, recipe.protocol, recipe.split)
    stage = final_stage(cut, events, upto)
    fits = dict(after.fits) if after else {}
    for window in (*ranker_stages(cut, recipe, upto), stage):
        if window.name not in fits:
            fits[window.name] = _fit_window(window, recipe, catalog, progress)
    labels, last = [fits[s.name] for s in ranker_stages(cut, recipe, upto)], fits[stage.name]
    _say(progress, "ranker: candidates and features of the label windows")
    training = training_set(labels, catalog, recipe.candidates, recipe.label_queries, recipe.seed)
    _say(progress, f"ranker: {len(training.labels)} candidates of {len(training.groups)} viewers")
    ranker = recipe.ranker.fit(training, recipe.seed)
    model = Model(recipe, catalog, tuple(last.sources), last.features, ranker, tuple(positive), recipe.clock)
    return Fitted(model, stage, training, fits)


def ranker_stages(cut: Windows, recipe: Recipe, upto: Upto) -> list[Stage]:
    """Return the stages that label the ranker, oldest first: all that lie before ``upto``."""
    later = {"selection": [], "test": [cut.selection], "all": [cut.selection, cut.test]}[upto]
    return [*label_stages(cut, recipe.label_windows, recipe.split), *later]


def final_stage(cut: Windows, events: Events, upto: Upto) -> Stage:
    """Return the cut that a model learns up to; for ``all`` it is the log's end, with no targets."""
    if upto != "all":
        return {"selection": cut.selection, "test": cut.test}[upto]
    offsets = np.zeros(events.n_users + 1, dtype=np.int64)
    nothing = Targets(offsets, np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))
    end = cut.test.until
    return Stage("all", events, nothing, end, NO_TIME)


def fit_sources(stage: Stage, recipe: Recipe, catalog: Catalog, progress: Progress | None) -> list[CandidateSource]:
    """Fit every source of the recipe on a stage's history."""
    context = FitContext(stage.history.histories(), catalog, stage.now, recipe.seed, progress=progress)
    fitted = []
    for config in recipe.sources:
        _say(progress, f"{stage.name}: fitting {type(config).name}")
        fitted.append(config.fit(context))
    return fitted


def _fit_window(stage: Stage, recipe: Recipe, catalog: Catalog, progress: Progress | None) -> LabelWindow:
    sources = fit_sources(stage, recipe, catalog, progress)
    names = [source.name for source in sources]
    features = FeatureSet.fit(
        names, recipe.features, clock=recipe.clock, events=stage.history, catalog=catalog, signals=recipe.signals
    )
    return LabelWindow(stage, sources, features)


def _say(progress: Progress | None, line: str) -> None:
    if progress is not None:
        progress(line)
