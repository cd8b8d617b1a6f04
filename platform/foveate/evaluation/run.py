"""One protocol from start to end: train (or load), ask, measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from foveate.bundle import Bundle
from foveate.core.config import to_dict
from foveate.core.errors import ConfigError, TrainingError
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.events import Events
from foveate.data.fitting import Headed
from foveate.data.importing.stream import read_events
from foveate.data.split import Protocol, Stage, allowed_protocols
from foveate.data.worker_group import WorkerGroup
from foveate.evaluation.asking import Asking, joined, panel_for, viewers_of
from foveate.evaluation.figures import NDCG, figures_by_model
from foveate.evaluation.known import known
from foveate.evaluation.loaded import newest_window, notes_on
from foveate.evaluation.outcomes import LOGISTIC, TWO_STAGE, CapCount, Outcomes, Subject, answer
from foveate.evaluation.panel import Panel
from foveate.evaluation.report import Caps, Evaluation, Measured
from foveate.evaluation.segments import segments_of
from foveate.evaluation.spans import Ageing, span_of
from foveate.ranking.base import RankerConfig
from foveate.ranking.growing import Grower
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.retrieval.base import CandidateSource, FitContext, SourceConfig
from foveate.training import fit, positive_kinds

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
    asking: Asking = Asking(),  # noqa: B008 - frozen
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
    asking
        What is asked under the ``time`` protocol.
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
        There is no seed, the protocol cannot be asked that, or the recipe asks for workers and there is no worker group
        or no grower.
    DataError
        The data cannot be cut by ``protocol``.
    BundleError
        The bundle does not fit the data.
    TrainingError
        The recipe cannot be trained.
    """
    say = progress or _silent
    asking.check(protocol, bundle=bundle is not None)
    asked = _Asked(asking)
    if bundle is not None:
        asked.ask(_loaded(dataset, bundle, protocol, say), say, newest=True)
    else:
        workers = _Workers(grower, worker_group)
        for back in reversed(range(asking.windows)):
            headed = Headed(f"window {asking.windows - back}: ", say) if asking.windows > 1 else say
            own = replace(recipe, protocol=protocol, split=replace(recipe.split, back=recipe.split.back + back))
            runs = _trained(dataset, own, seeds, say=headed, workers=workers, asking=asking)
            asked.ask(runs, headed, newest=back == 0)
    report = _report(dataset, protocol, asked)
    return replace(report, bundle=None if bundle is None else bundle.bundle_id)


def evaluate_folder(
    data: Path,
    recipe: Recipe,
    protocols: Sequence[Protocol],
    seeds: Sequence[int],
    *,
    asking: Asking = Asking(),  # noqa: B008 - frozen
    bundle: Path | None = None,
    progress: Progress | None = None,
    grower: Grower | None = None,
    worker_group: WorkerGroup | None = None,
) -> list[Evaluation]:
    """Open a dataset (and a bundle) by path and evaluate under each protocol: one picklable call for a cluster.

    With a bundle and no protocol, the bundle's own is taken; with neither, every protocol that the data allows, or
    ``time`` alone where ``asking`` is of that.
    """
    dataset = open_dataset(data)
    loaded = Bundle.load(bundle) if bundle is not None else None
    return [
        evaluate(
            dataset,
            recipe,
            protocol,
            seeds,
            asking=asking,
            bundle=loaded,
            progress=progress,
            grower=grower,
            worker_group=worker_group,
        )
        for protocol in protocols or _protocols(dataset, loaded, asking)
    ]


def _protocols(dataset: Dataset, bundle: Bundle | None, asking: Asking) -> Sequence[Protocol]:
    if bundle is not None:
        return (bundle.model.recipe.protocol,)
    if asking != Asking():
        return ("time",)
    return allowed_protocols(dataset.manifest.first)


@dataclass(frozen=True)
class _Workers:
    """Who trains over several processes, where the recipe asks for that."""

    grower: Grower | None
    worker_group: WorkerGroup | None


@dataclass(frozen=True)
class _Run:
    """One seed's model, ready to be asked; ``events`` are the log in the stage's codes, where more than it is asked."""

    subject: Subject
    stage: Stage
    seed: int
    events: Events | None
    notes: tuple[str, ...]


@dataclass
class _Asked:
    """The answers of all windows, oldest first: one panel and stage a window, one outcome a seed."""

    asking: Asking
    panels: list[Panel] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    by_seed: dict[int, Outcomes] = field(default_factory=dict)
    ageing: Ageing | None = None
    run: _Run | None = None
    notes: dict[str, None] = field(default_factory=dict)

    def ask(self, runs: Iterator[_Run], say: Progress, *, newest: bool) -> None:
        """Ask every seed's model of one window; the newest one is asked part by part, too, where that is wanted."""
        panel: Panel | None = None
        for run in runs:
            catalog, stage = run.subject.model.catalog, run.stage
            # Every seed's run is cut alike, so all are asked the same.
            if panel is None:
                panel = _panel(self.asking, run)
                self.panels.append(panel)
                self.stages.append(stage)
                if self.asking.ageing and newest and run.events is not None:
                    self.ageing = Ageing.of(run.events, stage, catalog, run.subject.model.recipe.split.min_history)
            outcomes = answer(run.subject, panel, run.seed, say)
            if run.seed in self.by_seed:
                self.by_seed[run.seed].extend(outcomes)
            else:
                self.by_seed[run.seed] = outcomes
            if self.ageing is not None:
                self.ageing.ask(run.subject, run.seed, say)
            self.run = run
            self.notes |= dict.fromkeys(run.notes)


def _panel(asking: Asking, run: _Run) -> Panel:
    # Targets at the cut need no more of the log than the stage holds.
    return panel_for(asking, run.events or run.stage.history, run.stage, run.subject.model.catalog)


def _trained(
    dataset: Dataset, recipe: Recipe, seeds: Sequence[int], *, say: Progress, workers: _Workers, asking: Asking
) -> Iterator[_Run]:
    events = None
    if asking != Asking():
        events = read_events(dataset, dataset.catalog().items, recipe.signals, positive_kinds(dataset, recipe))
    for seed in seeds:
        say_seed = Headed(f"seed {seed}: ", say) if len(seeds) > 1 else say
        own = replace(recipe, seed=seed)
        fitted = fit(
            dataset,
            own,
            upto="test",
            progress=say_seed,
            grower=workers.grower,
            worker_group=workers.worker_group,
        )
        run = _beside(fitted.model, fitted.stage, events, say_seed)
        logistic = RankerConfig.variants["logistic"]().fit(fitted.training, seed)
        yield replace(run, subject=replace(run.subject, rankers={LOGISTIC: logistic}))


def _loaded(dataset: Dataset, bundle: Bundle, protocol: Protocol, say: Progress) -> Iterator[_Run]:
    events, stage = newest_window(bundle, dataset, protocol)
    run = _beside(bundle.model, stage, events, say)
    yield replace(run, notes=(*notes_on(bundle, dataset, stage), *run.notes))


def _beside(model: Model, stage: Stage, events: Events | None, say: Progress) -> _Run:
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
    return _Run(Subject(model, _in_order(sources)), stage, seed, events, tuple(notes))


def _in_order(sources: dict[str, CandidateSource]) -> tuple[CandidateSource, ...]:
    first = [sources[name] for name in BASELINES if name in sources]
    return (*first, *(source for name, source in sources.items() if name not in BASELINES))


def _report(dataset: Dataset, protocol: Protocol, asked: _Asked) -> Evaluation:
    if asked.run is None:
        raise ConfigError("an evaluation needs at least one seed")
    catalog, recipe = asked.run.subject.model.catalog, asked.run.subject.model.recipe
    sources = {source.name for source in asked.run.subject.sources}
    panel, outcomes = joined(asked.panels), list(asked.by_seed.values())
    was_known = known(asked.panels, asked.stages, len(catalog))
    by_model, whose = figures_by_model(outcomes, panel.offsets, catalog), viewers_of(panel)
    measured = Measured(by_model, len(catalog), whose, (panel, was_known))
    rows, comparisons, best = measured.table(sources)
    target_window_T = was_known.window_B[panel.viewer_of_target()]
    spans = [
        span_of(
            stage,
            int((target_window_T == place).sum()),
            {name: own.values[NDCG][was_known.window_B == place] for name, own in by_model.items()},
            ours=TWO_STAGE,
        )
        for place, stage in enumerate(asked.stages)
    ]
    return Evaluation(
        protocol=protocol,
        data=dataset.title,
        content_hash=dataset.manifest.content_hash,
        simulated=dataset.manifest.simulated,
        seeds=tuple(o.seed for o in outcomes),
        viewers=len(panel.queries) if whose is None else len(set(whose.tolist())),
        targets=len(panel.targets),
        unreachable=int((~panel.reachable).sum()),
        diversity="categories" if catalog.categories.nnz else "none",
        rows=rows,
        comparisons=comparisons,
        best_source=best,
        caps=_caps([o.caps for o in outcomes], recipe),
        config=to_dict(recipe),
        notes=tuple(asked.notes),
        target_choice=asked.asking.targets,
        segments=segments_of(by_model, panel, was_known, ours=TWO_STAGE, viewers_B=whose),
        windows=tuple(spans) if len(spans) > 1 else (),
        ageing=asked.ageing.spans(TWO_STAGE) if asked.ageing is not None else (),
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
