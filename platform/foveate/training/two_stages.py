"""Training a model from a dataset and a recipe, without ever letting a part see its own labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from foveate.core.errors import ConfigError
from foveate.core.messages import NO_TIME
from foveate.data.catalog import Catalog
from foveate.data.dataset import Dataset
from foveate.data.events import Events
from foveate.data.importing.stream import LogPart, read_events
from foveate.data.split import Stage, Targets, Windows, label_stages, windows
from foveate.data.worker_group import WorkerGroup
from foveate.features.sets import FeatureSet
from foveate.ranking.base import TrainingSet
from foveate.ranking.growing import Grower
from foveate.recommend.model import Model, learned_vectors, trending_scores
from foveate.recommend.recipe import Recipe
from foveate.retrieval.base import CandidateSource, FitContext
from foveate.training.click_through import wanted_click_through
from foveate.training.examples import LabelWindow, followed, training_set
from foveate.training.served_rows import served_training_set

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
    grower: Grower | None = None,
    worker_group: WorkerGroup | None = None,
) -> Fitted:
    """Train sources, features and ranker.

    The ranker learns from label windows that lie before ``upto``, the selection's included where ``upto`` is later.
    For each of them the sources are fitted on what lies before it (a learned one on what lies before the oldest,
    unless the recipe says ``refit_learned``), so that no score a ranker trains on is of an item that the source has
    learned from. Then the sources and the item states are fitted once more, on all that lies
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
    grower
        Grows the ranker's trees elsewhere, where the recipe asks for several workers.
    worker_group
        The processes that train an encoder together, where the recipe asks for several.

    Raises
    ------
    ConfigError
        The recipe asks for workers, and there is no worker group or no grower.
    DataError
        The log is too short to be cut.
    TrainingError
        A source cannot be fitted, or no source retrieved anything that a viewer went on to like.
    """
    catalog, positive = dataset.catalog(), positive_kinds(dataset, recipe)
    fits = dict(after.fits) if after else {}
    labels, last = fit_windows(
        dataset, recipe, catalog, upto=upto, fits=fits, progress=progress, worker_group=worker_group
    )
    stage = last.stage
    if recipe.ranker_rows == "served":
        _say(progress, "ranker: what was served, and what followed")
        training = served_training_set(dataset, recipe, last.features, catalog, until=stage.now, positive=positive)
    else:
        _say(progress, "ranker: candidates and features of the label windows")
        training = training_set(labels, catalog, recipe.counts, recipe.label_draw, recipe.seed, labels=recipe.labels)
    _say(progress, f"ranker: {len(training.labels)} candidates of {len(training.groups)} viewers")
    ranker = recipe.ranker.fit(training, recipe.seed, grower)
    model = Model(
        recipe=recipe,
        catalog=catalog,
        sources=tuple(last.sources),
        features=last.features,
        ranker=ranker,
        positive_kinds=tuple(positive),
        clock=recipe.clock,
        item_vectors=learned_vectors(last.sources),
        trending=trending_scores(last.sources),
        click_through=wanted_click_through(recipe, dataset, stage, catalog.items),
    )
    return Fitted(model, stage, training, fits)


def fit_windows(
    dataset: Dataset,
    recipe: Recipe,
    catalog: Catalog,
    *,
    upto: Upto,
    fits: dict[str, LabelWindow] | None = None,
    progress: Progress | None = None,
    worker_group: WorkerGroup | None = None,
) -> tuple[list[LabelWindow], LabelWindow]:
    """Fit sources and features: of the windows that label the ranker, oldest first, and of all that lies before them.

    Parameters and errors are those of :func:`fit`; ``fits`` are windows that need not be fitted again, and keeps those
    that were.
    """
    if recipe.train.workers and worker_group is None:
        raise ConfigError(
            f"train.workers: {recipe.train.workers} train over Ray, which this cannot: set it to 0, or use "
            "'foveate train' or 'foveate evaluate'"
        )
    events = read_events(dataset, catalog.items, recipe.signals, positive_kinds(dataset, recipe))
    cut = windows(events, recipe.protocol, recipe.split)
    fits = {} if fits is None else fits
    site = _Site(recipe, dataset, catalog, events, fits, progress, worker_group if recipe.train.workers else None)
    # What was served has its features already: no window has to retrieve for it.
    stages = [] if recipe.ranker_rows == "served" else labelled_stages(cut, events, recipe, upto)
    return _fit_labels(stages, site), _fit_window(final_stage(cut, events, upto), site)


def positive_kinds(dataset: Dataset, recipe: Recipe) -> tuple[str, ...]:
    """Return the event kinds that count as interest: those of the recipe, or else of the dataset."""
    return tuple(recipe.signals.positive or dataset.manifest.positive_kinds)


def ranker_stages(cut: Windows, recipe: Recipe, upto: Upto) -> list[Stage]:
    """Return the stages that label the ranker, oldest first: all that lie before ``upto``."""
    later = {"selection": [], "test": [cut.selection], "all": [cut.selection, cut.test]}[upto]
    return [*label_stages(cut, recipe.n_label_windows, recipe.split), *later]


def labelled_stages(cut: Windows, events: Events, recipe: Recipe, upto: Upto) -> list[Stage]:
    """Return :func:`ranker_stages`, each with what was done in it where the recipe's labels weigh that."""
    kinds, stages = recipe.labels.kinds, ranker_stages(cut, recipe, upto)
    return [replace(stage, after=followed(events, stage, kinds)) for stage in stages] if kinds else stages


def final_stage(cut: Windows, events: Events, upto: Upto) -> Stage:
    """Return the cut that a model learns up to; for ``all`` it is the log's end, with no targets."""
    if upto != "all":
        return {"selection": cut.selection, "test": cut.test}[upto]
    offsets = np.zeros(events.n_users + 1, dtype=np.int64)
    nothing = Targets(offsets, np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))
    end = cut.test.until
    before = events if end == NO_TIME else events.take(events.time < end)
    return Stage("all", before, nothing, end, NO_TIME)


@dataclass(frozen=True)
class _Site:
    """What every window is fitted by; ``fits`` keeps those that are done."""

    recipe: Recipe
    dataset: Dataset
    catalog: Catalog
    events: Events
    fits: dict[str, LabelWindow]
    progress: Progress | None
    worker_group: WorkerGroup | None

    def context(self, stage: Stage) -> FitContext:
        """Return what a stage's sources may learn from; processes of a worker group read the log by themselves."""
        recipe, history = self.recipe, stage.history
        kinds = positive_kinds(self.dataset, recipe)
        return FitContext(
            history.histories(self.catalog.duration),
            self.catalog,
            stage.now,
            recipe.seed,
            progress=self.progress,
            worker_group=self.worker_group,
            log=LogPart.of(self.dataset, self.events, history, recipe.signals, kinds) if self.worker_group else None,
        )


def _fit_labels(stages: Sequence[Stage], site: _Site) -> list[LabelWindow]:
    """Fit the label windows, oldest first.

    Where learned sources are not fitted anew, the one of the oldest window, which has seen the least, serves the later
    ones too.
    """
    labels: list[LabelWindow] = []
    for stage in stages:
        older = labels[0].sources if labels and not site.recipe.refit_learned else ()
        kept = {type(c).name: s for c, s in zip(site.recipe.sources, older, strict=False) if type(c).learned}
        labels.append(_fit_window(stage, site, kept=kept))
    return labels


def _fit_window(
    stage: Stage, site: _Site, *, kept: Mapping[str, CandidateSource] = MappingProxyType({})
) -> LabelWindow:
    """Fit sources and features on a stage's history, but for the sources that are ``kept`` from an older one."""
    name = f"{stage.name}, with an older {', '.join(kept)}" if kept else stage.name
    recipe = site.recipe
    if name not in site.fits:
        sources = _fit_sources(stage, site, kept)
        features = FeatureSet.fit(
            [source.name for source in sources],
            recipe.source_feature_names,
            recipe.features,
            clock=recipe.clock,
            events=stage.history,
            catalog=site.catalog,
            signals=recipe.signals,
        )
        site.fits[name] = LabelWindow(stage, sources, features)
    return site.fits[name]


def _fit_sources(stage: Stage, site: _Site, kept: Mapping[str, CandidateSource]) -> list[CandidateSource]:
    context = site.context(stage)
    fitted = []
    for config in site.recipe.sources:
        name = type(config).name
        if name not in kept:
            _say(site.progress, f"{stage.name}: fitting {name}")
        fitted.append(kept[name].renewed(context) if name in kept else config.fit(context))
    return fitted


def _say(progress: Progress | None, line: str) -> None:
    if progress is not None:
        progress(line)
