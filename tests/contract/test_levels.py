"""What every level of a sweep must keep: the test's window out of sight, draws that can be built, recipes that stay."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.data.dataset import Dataset
from foveate.data.schema import ITEM_ID, OCCURRED_AT
from foveate.data.split import cuts
from foveate.recommend.recipe import Recipe
from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import Level, Problem
from foveate_tune.space import Draw

DRAWS = 12
RECIPE: dict[str, Any] = {
    "sources": [{"name": "attention", "train": {"epochs": 1}}, "covisitation", "popularity"],
    "candidates": 40,
    "label_windows": 1,
    "ranker": {"name": "lambdarank", "trees": 15, "members": 1, "min_rows": 20},
}
SMALL: Mapping[str, Mapping[str, Any]] = {"slate": {"viewers": 100, "label_viewers": 100, "requests": 4}}
"""Settings under which a level's trial takes a second."""


def config_of(name: str) -> SweepConfig:
    level = {"name": name, **SMALL.get(name, {})}
    return from_dict(SweepConfig, {"level": level, "recipe": RECIPE, "epochs": 1})


@pytest.fixture(scope="module", params=list(Level.variants))
def config(request: pytest.FixtureRequest) -> SweepConfig:
    return config_of(request.param)


@pytest.fixture(scope="module")
def problem(config: SweepConfig, small_world: Dataset) -> Problem:
    return config.level.prepare(small_world, config, lambda _: None)


def draws(config: SweepConfig, problem: Problem) -> list[Draw]:
    space = config.level.space(config)
    return [space.draw_after(problem.first(space), number, seed=0) for number in range(DRAWS)]


def with_other_items(dataset: Dataset, window: Callable[[pl.Expr], pl.Expr]) -> Dataset:
    """The same log, but in a window of time every event is on another item."""
    items = dataset.items[ITEM_ID]
    others = dict(zip(items, items.reverse(), strict=True))
    changed = pl.when(window(pl.col(OCCURRED_AT))).then(pl.col(ITEM_ID).replace(others)).otherwise(pl.col(ITEM_ID))
    return dataclasses.replace(dataset, events=dataset.events.with_columns(changed.alias(ITEM_ID)))


def test_what_trials_share_does_not_depend_on_the_tests_window(
    config: SweepConfig, problem: Problem, small_world: Dataset
) -> None:
    times = small_world.events.select(pl.col(OCCURRED_AT).cast(pl.Int64)).collect()[OCCURRED_AT].to_numpy()
    _, selection, test, _ = cuts(times, config.recipe.split)
    future = with_other_items(small_world, lambda time: time.cast(pl.Int64) >= test)
    assert not future.events.collect().equals(small_world.events.collect())
    shared = pickle.dumps(problem)
    assert pickle.dumps(config.level.prepare(future, config, lambda _: None)) == shared
    # What lies in the selection's window does count.
    judged = with_other_items(small_world, lambda time: time.cast(pl.Int64).is_between(selection, test, closed="left"))
    assert pickle.dumps(config.level.prepare(judged, config, lambda _: None)) != shared


def test_every_draw_makes_a_recipe_that_yaml_keeps(config: SweepConfig, problem: Problem) -> None:
    recipes = []
    for draw in draws(config, problem):
        problem.check(draw)
        recipes.append(problem.recipe(draw, 1))
        assert from_dict(Recipe, yaml.safe_load(yaml.safe_dump(to_dict(recipes[-1])))) == recipes[-1]
    assert len({str(to_dict(recipe)) for recipe in recipes}) == DRAWS


def test_the_first_draw_is_where_the_sweep_starts_from(config: SweepConfig, problem: Problem) -> None:
    first, *_ = draws(config, problem)
    assert problem.recipe(first, 1) == config.recipe


def test_a_setting_that_there_is_not_is_refused(config: SweepConfig, problem: Problem) -> None:
    first, *_ = draws(config, problem)
    with pytest.raises(ConfigError, match="wings"):
        problem.check({**first, "ranker.wings" if config.level.name == "slate" else "encoder.wings": 2})


def test_a_trial_reports_all_figures_at_every_step(config: SweepConfig, problem: Problem, tmp_path: Path) -> None:
    told: list[tuple[int, dict[str, float]]] = []

    def report(step: int, figures: Mapping[str, float], save: Callable[[Path], object] | None = None, /) -> bool:
        told.append((step, dict(figures)))
        if save is not None:
            save(tmp_path)
        return True

    again: Problem = pickle.loads(pickle.dumps(problem))  # noqa: S301 - our own
    again.run(draws(config, again)[1], report, steps=config.level.steps(config), cpus=1)
    assert [step for step, _ in told] == list(range(1, config.level.steps(config) + 1))
    wanted = {one.name for one in config.level.figures}
    assert all(wanted <= set(figures) for _, figures in told)
    first = config.level.objectives[0]
    assert all(first.gain(figures) > first.gain(config.level.worst) for _, figures in told)


def test_a_baseline_is_measured_by_the_first_objective(config: SweepConfig, problem: Problem) -> None:
    baselines = problem.baselines()
    assert "popularity" in baselines
    assert all(figures[config.level.objectives[0].name] > 0 for figures in baselines.values())


def test_a_levels_objectives_have_names_of_their_own(config: SweepConfig) -> None:
    names = [one.name for one in config.level.figures]
    assert len(set(names)) == len(names)
    assert config.level.figures[0] == config.level.objectives[0]
