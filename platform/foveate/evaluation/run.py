"""One protocol from start to end: train (or load), ask, measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from foveate.bundle import Bundle
from foveate.core.config import to_dict
from foveate.core.errors import ConfigError, TrainingError
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.fitting import Headed
from foveate.data.split import Protocol, Stage, allowed_protocols
from foveate.data.worker_group import WorkerGroup
from foveate.evaluation.loaded import newest_stage, notes_on
from foveate.evaluation.outcomes import LOGISTIC, CapCount, Outcomes, Subject, answer
from foveate.evaluation.panel import Panel, panel_of
from foveate.evaluation.report import Caps, Evaluation, measure
from foveate.ranking.base import RankerConfig
from foveate.ranking.growing import Grower
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.retrieval.base import CandidateSource, FitContext, SourceConfig
from foveate.training import fit

BASELINES = (
    *("popularity", "recent_popularity", "transition_walk", "item_knn", "covisitation"),
    *("ease", "als", "attention"),
)
"""The sources that every table carries, in the order of its rows."""

Progress = Callable[[str], None]


def evaluate(
    dataset: Dataset,
    recipe: Recipe,
    protocol: Protocol,
    seeds: Sequence[int],
    *,
    bundle: Bundle | None = None,
    progress: Progress | None = None,
    grower: Grower | None = None,
    worker_group: WorkerGroup | None = None,
) -> Evaluation:
    """Put baselines, blends, two-stage and slate side by side on the test window.

    Parameters
    ----------
    dataset
        What to learn from and to predict.
    recipe
        How to train; its protocol and seed give way to the next two arguments. Not read where a bundle is given.
    protocol
        How the log is cut.
    seeds
        One model is trained for each; the figures are their mean.
    bundle
        Evaluate this bundle's model on the newest window, instead of training one.
    progress
        Called with one line of news a step.
    grower
        Grows the ranker's trees elsewhere, where the recipe asks for several workers.
    worker_group
        The processes that train an encoder together, where the recipe asks for several.

    Raises
    ------
    ConfigError
        There is no seed, or the recipe asks for workers and there is no worker group or no grower.
    DataError
        The data cannot be cut by ``protocol``.
    BundleError
        The bundle does not fit the data.
    TrainingError
        The recipe cannot be trained.
    """
    say = progress or _silent
    runs = (
        _trained(dataset, recipe, protocol, seeds, say=say, grower=grower, worker_group=worker_group)
        if bundle is None
        else _loaded(dataset, bundle, protocol, say)
    )
    panel: Panel | None = None
    outcomes = []
    for run in runs:
        # Every run is cut alike, so all are asked the same.
        panel = panel or panel_of(run.stage, run.subject.model.catalog)
        outcomes.append(answer(run.subject, panel, run.seed, say))
    if panel is None:
        raise ConfigError("an evaluation needs at least one seed")
    report = _report(dataset, protocol, run, panel, outcomes)
    return replace(report, bundle=None if bundle is None else bundle.bundle_id)


def evaluate_folder(
    data: Path,
    recipe: Recipe,
    protocols: Sequence[Protocol],
    seeds: Sequence[int],
    *,
    bundle: Path | None = None,
    progress: Progress | None = None,
    grower: Grower | None = None,
    worker_group: WorkerGroup | None = None,
) -> list[Evaluation]:
    """Open a dataset (and a bundle) by path and evaluate under each protocol: one picklable call for a cluster.

    With a bundle and no protocol, the bundle's own is taken; with neither, every protocol that the data allows.
    """
    dataset = open_dataset(data)
    loaded = Bundle.load(bundle) if bundle is not None else None
    return [
        evaluate(
            dataset, recipe, protocol, seeds, bundle=loaded, progress=progress, grower=grower, worker_group=worker_group
        )
        for protocol in protocols or _protocols(dataset, loaded)
    ]


def _protocols(dataset: Dataset, bundle: Bundle | None) -> Sequence[Protocol]:
    if bundle is not None:
        return (bundle.model.recipe.protocol,)
    return allowed_protocols(dataset.manifest.first)


@dataclass(frozen=True)
class _Run:
    """One seed's model, ready to be asked."""

    subject: Subject
    stage: Stage
    seed: int
    notes: tuple[str, ...]


def _trained(
    dataset: Dataset,
    recipe: Recipe,
    protocol: Protocol,
    seeds: Sequence[int],
    *,
    say: Progress,
    grower: Grower | None,
    worker_group: WorkerGroup | None,
) -> Iterator[_Run]:
    for seed in seeds:
        say_seed = Headed(f"seed {seed}: ", say) if len(seeds) > 1 else say
        own = replace(recipe, protocol=protocol, seed=seed)
        fitted = fit(dataset, own, upto="test", progress=say_seed, grower=grower, worker_group=worker_group)
        run = _beside(fitted.model, fitted.stage, say_seed)
        logistic = RankerConfig.variants["logistic"]().fit(fitted.training, seed)
        yield replace(run, subject=replace(run.subject, rankers={LOGISTIC: logistic}))


def _loaded(dataset: Dataset, bundle: Bundle, protocol: Protocol, say: Progress) -> Iterator[_Run]:
    stage = newest_stage(bundle, dataset, protocol)
    run = _beside(bundle.model, stage, say)
    yield replace(run, notes=(*notes_on(bundle, dataset, stage), *run.notes))


def _beside(model: Model, stage: Stage, say: Progress) -> _Run:
    """Add the baselines that the model does not hold, fitted on the same history."""
    sources = {source.name: source for source in model.sources}
    history = replace(stage.history.take(stage.history.item < len(model.catalog)), n_items=len(model.catalog))
    seed = model.recipe.seed
    context = FitContext(history.histories(model.catalog.duration), model.catalog, stage.now, seed, progress=say)
    notes: list[str] = []
    for name in BASELINES:
        if name not in sources:
            say(f"fitting the baseline {name}")
            try:
                sources[name] = SourceConfig.variants[name]().fit(context)
            except TrainingError as error:
                notes.append(f"baseline left out: {error}")
    return _Run(Subject(model, _in_order(sources)), stage, seed, tuple(notes))


def _in_order(sources: dict[str, CandidateSource]) -> tuple[CandidateSource, ...]:
    first = [sources[name] for name in BASELINES if name in sources]
    return (*first, *(source for name, source in sources.items() if name not in BASELINES))


def _report(dataset: Dataset, protocol: Protocol, run: _Run, panel: Panel, outcomes: Sequence[Outcomes]) -> Evaluation:
    catalog, recipe = run.subject.model.catalog, run.subject.model.recipe
    sources = {source.name for source in run.subject.sources}
    rows, comparisons, best = measure(outcomes, panel.offsets, catalog, sources)
    return Evaluation(
        protocol=protocol,
        data=dataset.title,
        content_hash=dataset.manifest.content_hash,
        simulated=dataset.manifest.simulated,
        seeds=tuple(o.seed for o in outcomes),
        viewers=len(panel.queries),
        targets=len(panel.targets),
        unreachable=int((~panel.reachable).sum()),
        diversity="categories" if catalog.categories.nnz else "none",
        rows=rows,
        comparisons=comparisons,
        best_source=best,
        caps=_caps([o.caps for o in outcomes], recipe),
        config=to_dict(recipe),
        notes=run.notes,
    )


def _caps(counts: Sequence[CapCount], recipe: Recipe) -> Caps:
    slates = sum(count.slates for count in counts)
    asked = max(1, slates)
    return Caps(
        slates=slates,
        bound=sum(count.bound for count in counts) / asked,
        broken=sum(count.broken for count in counts),
        relaxed=sum(count.relaxed for count in counts) / asked,
        short=sum(count.short for count in counts) / asked,
        relevance_paid=sum(count.paid for count in counts) / asked,
        rules=recipe.constraints.labels,
    )


def _silent(line: str) -> None:
    del line
