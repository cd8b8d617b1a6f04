"""The slate on a chosen encoder: candidates and their mix, ranker, diversity and caps, for several objectives."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.data.catalog import Catalog
from foveate.data.dataset import Dataset
from foveate.evaluation.panel import Panel, panel_of
from foveate.features.sets import FeatureSet
from foveate.ranking.base import LabelDraw, RankerConfig
from foveate.recommend.model import Model, learned_vectors
from foveate.recommend.recipe import Recipe
from foveate.slate.base import SlatePolicy
from foveate.training import fit_windows, positive_kinds
from foveate.training.click_through import wanted_click_through
from foveate.training.examples import training_set
from foveate_tune.levels.base import Baselines, Level, Problem, Report
from foveate_tune.levels.chosen_encoder import ENCODER, with_encoder
from foveate_tune.levels.second_stage import Found, Recalled, asked_once, found_for, recalled, rivals, slate_figures
from foveate_tune.objective import Objective
from foveate_tune.search import SearchConfig, draw_of
from foveate_tune.settings import SweepSettings
from foveate_tune.space import Branch, Draw, SearchSpace, apply_draw, conditional, listed

OBJECTIVES: Final = {
    one.name: one
    for one in (
        Objective("ndcg@10"),
        Objective("coverage@10"),
        Objective("ild@10"),
        Objective("rank_ms", "min", worst=1e6, digits=2),
    )
}
"""What a slate can be tuned for: relevance, how much of the catalogue is shown, variety within a slate, time."""
MIX: Final = "mix"
"""Begins the paths of the shares: ``mix.ease`` is what ``ease`` offers, of ``candidates``."""
POLICY, RANKER, CANDIDATES = "policy", "ranker", "candidates"
_TUNED: Final = (CANDIDATES, RANKER, POLICY, "constraints", "likeness", "label_draw")


def _default_settings() -> dict[str, Any]:
    caps = {"max_per_channel": [1, 2, 3, None], "max_per_category": [3, 4, 6, None]}
    return {CANDIDATES: [25, 50, 100, 200], "constraints": caps, RANKER: {"trees": {"int_range": [40, 200]}}}


@dataclass(frozen=True)
class SlateLevel(Level):
    """Tunes the second stage; its sources, the encoder among them, are fitted once.

    The ranker learns in the label windows before the selection's, and slates are measured on viewers of the selection
    window. A trial reports once, so there is nothing for a scheduler to stop.

    Parameters
    ----------
    encoder
        Whose ``attention`` source to build on: a sweep (its pick), a bundle or a recipe file. None takes the recipe's
        own.
    tune_for
        Which objectives, the one that rows are ordered by first: ``ndcg@10``, ``coverage@10``, ``ild@10`` and
        ``rank_ms``.
    policies, rankers
        Names to choose from; no policy takes every one that is known. Each brings its own search space.
    mix
        What a source other than the encoder may offer, in shares of ``candidates``; 0 leaves the source out.
    settings
        Further settings of the recipe's ``candidates``, ``ranker``, ``policy``, ``constraints``, ``likeness`` and
        ``label_draw``, laid out as there, each with its domain as in ``search.settings``.
    viewers
        Viewers of the selection window that trials are measured on, at most.
    label_viewers
        Viewers of a label window that a trial's ranker learns from, at most.
    requests
        How many single requests are timed.
    """

    name: ClassVar[str] = "slate"

    encoder: str | None = None
    tune_for: tuple[str, ...] = tuple(OBJECTIVES)
    policies: tuple[str, ...] = ()
    rankers: tuple[str, ...] = ("lambdarank",)
    mix: tuple[float, ...] = (0.0, 0.5, 1.0)
    settings: Mapping[str, Any] = field(default_factory=_default_settings)
    viewers: int = 500
    label_viewers: int = 300
    requests: int = 64

    def __post_init__(self) -> None:
        if not self.tune_for or len(set(self.tune_for)) < len(self.tune_for):
            raise ConfigError("tune_for must name at least one objective, and none twice")
        for name in self.tune_for:
            if name not in OBJECTIVES:
                raise ConfigError(f"tune_for: no objective is called '{name}'. Known: {', '.join(OBJECTIVES)}.")
        if min(self.viewers, self.label_viewers, self.requests) < 1:
            raise ConfigError("viewers, label_viewers and requests must be 1 or more")
        if not self.mix or not all(0 <= share <= 1 for share in self.mix):
            raise ConfigError("mix must hold shares from 0 to 1")
        if self.encoder is not None and "://" not in self.encoder:
            # A sweep may be resumed from another folder.
            object.__setattr__(self, "encoder", str(Path(self.encoder).resolve()))
        for path in self.settings:
            if path.partition(".")[0] not in _TUNED:
                raise ConfigError(f"settings: '{path}' is not of the slate. Known: {', '.join(_TUNED)}.")

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Those that were asked for."""
        return tuple(OBJECTIVES[name] for name in self.tune_for)

    @property
    def beside(self) -> tuple[Objective, ...]:
        """The others, and recall."""
        return (*(one for name, one in OBJECTIVES.items() if name not in self.tune_for), Objective("recall@10"))

    def steps(self, config: SweepSettings) -> int:
        """Return one: a trial is over when its slates are measured."""
        del config
        return 1

    def space(self, config: SweepSettings) -> SearchSpace:
        """Return policies and rankers with their own settings, the shares of the sources, and ``settings``."""
        if config.search != SearchConfig(searcher=config.search.searcher):
            raise ConfigError("search: mixers, scorers, losses and settings are the encoder's; say level.settings here")
        shares = {type(s).name: list(self.mix) for s in config.recipe.sources if type(s).name != ENCODER}
        branches = {
            POLICY: Branch("level.policies", SlatePolicy.variants, self.policies),
            RANKER: Branch("level.rankers", RankerConfig.variants, self.rankers),
        }
        return conditional("level.settings", {MIX: shares, **self.settings} if shares else self.settings, branches)

    def prepare(self, dataset: Dataset, config: SweepSettings, say: Callable[[str], None]) -> SlateProblem:
        """Fit all sources once, and ask them for the most candidates that a draw may want."""
        if config.workers > 1:
            raise ConfigError("one process trains a slate's trial: set workers=1")
        if config.recipe.ranker_rows == "served":
            # What was served was chosen from the candidates of one setting: it says nothing of others.
            raise ConfigError("a trial learns from what its own sources retrieve: set recipe.ranker_rows=retrieved")
        most = max(config.recipe.candidates, *self._candidates(config))
        recipe = with_encoder(self.encoder, config.recipe, dataset.manifest.content_hash, say)
        catalog = dataset.catalog()
        if "ild@10" in self.tune_for and not catalog.categories.nnz:
            raise ConfigError("no video of the catalogue has a category to be diverse in: leave ild@10 out of tune_for")
        draw = dataclasses.replace(recipe.label_draw, queries=min(self.label_viewers, recipe.label_draw.queries))
        labels, last = fit_windows(dataset, recipe, catalog, upto="selection", progress=say)
        panel = panel_of(last.stage, catalog, most=self.viewers, seed=config.seed)
        say(f"asking {len(last.sources)} sources for {most} candidates each")
        return SlateProblem(
            level=self,
            base=recipe,
            catalog=catalog,
            positive=positive_kinds(dataset, recipe),
            draw=draw,
            labels=tuple(asked_once(window, catalog, most, draw, recipe.seed) for window in labels),
            features=last.features,
            item_vectors=learned_vectors(last.sources),
            click_through=wanted_click_through(recipe, dataset, last.stage, catalog.items),
            panel=panel,
            found=found_for(last, panel.queries, most),
            rivals=rivals(last, catalog, panel, recipe),
        )

    def _candidates(self, config: SweepSettings) -> list[int]:
        domain = self.space(config).shared.get(CANDIDATES)
        return [0, *(listed(domain) if domain else ())]


@dataclass(frozen=True)
class SlateProblem(Problem):
    """Candidates of the label windows and of the selection's viewers, from all sources and at the largest count.

    Parameters
    ----------
    level
        Who prepared it.
    base
        The recipe whose second stage is tuned.
    catalog, positive, learned, click_through
        As in :class:`foveate.recommend.model.Model`.
    draw
        How much of the label windows a trial's ranker learns from.
    labels
        The label windows, oldest first.
    features
        What was fitted on all that lies before the selection's window.
    panel, found
        The viewers whom trials are measured on, and what was found for each.
    rivals
        What the encoder, popularity and a plain blend score on them.
    """

    level: SlateLevel
    base: Recipe
    catalog: Catalog
    positive: tuple[str, ...]
    draw: LabelDraw
    labels: tuple[Recalled, ...]
    features: FeatureSet
    item_vectors: NDArray[np.float32] | None
    click_through: NDArray[np.float32] | None
    panel: Panel
    found: Found
    rivals: Baselines

    @property
    def viewers(self) -> int:
        """How many viewers every trial is measured on."""
        return len(self.panel.queries)

    def first(self, space: SearchSpace) -> Draw | None:
        """Return the recipe's own second stage as a draw."""
        names = [type(source).name for source in self.base.sources]
        shares = {name: count / self.base.candidates for name, count in zip(names, self.base.counts, strict=True)}
        return draw_of({**to_dict(self.base), MIX: shares}, space)

    def check(self, draw: Draw) -> None:
        """See that it makes a recipe."""
        self.recipe(draw, 0)

    def run(
        self,
        draw: Draw,
        report: Report,
        *,
        steps: int,
        cpus: int,
        seconds: float = math.inf,
        resume: Path | None = None,
    ) -> None:
        """Grow the ranker and measure the slates; there is nothing to keep but the settings."""
        del steps, cpus, seconds, resume
        recipe = self.recipe(draw, 0)
        draws = dataclasses.replace(self.draw, negatives=recipe.label_draw.negatives)
        labels = [window.of(recipe) for window in self.labels]
        training = training_set(labels, self.catalog, recipe.counts, draws, recipe.seed, labels=recipe.labels)
        ranker = recipe.ranker.fit(training, recipe.seed)
        names = tuple(type(source).name for source in recipe.sources)
        features = dataclasses.replace(self.features, sources=names, source_features=recipe.source_feature_names)
        model = Model(
            recipe=recipe,
            catalog=self.catalog,
            sources=(),
            features=features,
            ranker=ranker,
            positive_kinds=self.positive,
            clock=recipe.clock,
            item_vectors=self.item_vectors,
            click_through=self.click_through,
        )
        candidates = recalled(self.found, self.panel.queries, recipe)
        figures = slate_figures(model, self.panel, candidates, seed=recipe.seed, requests=self.level.requests)
        report(1, self._finite(figures))

    def recipe(self, draw: Draw, best: int) -> Recipe:
        """Return the recipe with this second stage."""
        del best
        shares = {path.removeprefix(f"{MIX}."): share for path, share in draw.items() if path.startswith(f"{MIX}.")}
        rest = {path: value for path, value in draw.items() if not path.startswith(f"{MIX}.")}
        settings = apply_draw(rest, to_dict(self.base), (POLICY, RANKER))
        kept = [source for source in self.base.sources if shares.get(type(source).name, 1) > 0]
        most = settings[CANDIDATES]
        offers = {name: max(1, round(share * most)) for name, share in shares.items() if 0 < share < 1}
        own = {name: count for name, count in self.base.offers.items() if name not in shares}
        settings |= {"sources": [to_dict(source) for source in kept], "offers": {**own, **offers}}
        return from_dict(Recipe, settings, "level.settings")

    def baselines(self) -> Baselines:
        """Return the figures of the encoder, of popularity, and of a plain blend of the recipe's sources."""
        return self.rivals

    def _finite(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Leave out what cannot be measured; an objective that cannot is at its worst."""
        names = [one.name for one in self.level.figures]
        finite = {name: figures[name] for name in names if math.isfinite(figures[name])}
        return {**{one.name: one.worst for one in self.level.objectives}, **finite}
