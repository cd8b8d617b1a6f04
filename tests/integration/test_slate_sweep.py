"""A real sweep of the second stage, on an encoder that another sweep chose, and a bundle of what was picked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from foveate.bundle import Bundle
from foveate.core.config import from_dict, load_yaml, to_dict
from foveate.core.errors import ConfigError
from foveate.data.dataset import Dataset
from foveate.evaluation.validation import figures
from foveate.recommend.recipe import Recipe
from foveate.training import fit
from foveate_cli.main import cli
from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import Problem
from foveate_tune.results.leaderboard import SweepResult
from foveate_tune.run_sweep import run_sweep

TRIALS = 6
RECIPE: dict[str, Any] = {
    "sources": [
        {"name": "attention", "encoder": {"width": 16, "mixer": "mean_pool"}, "train": {"epochs": 1}},
        "covisitation",
        "popularity",
    ],
    "candidates": 40,
    "label_windows": 1,
    "ranker": {"name": "lambdarank", "trees": 15, "members": 1, "min_rows": 20},
}
LEVEL: dict[str, Any] = {
    "name": "slate",
    "policies": ["mmr", "dpp"],
    "settings": {"candidates": [20, 40], "ranker": {"trees": [10, 20], "leaves": [7, 15]}},
    "viewers": 150,
    "requests": 8,
}
SEARCH = {"searcher": {"name": "optuna", "start": 2}}


def config(**level: Any) -> SweepConfig:
    settings = {"level": LEVEL | level, "recipe": RECIPE, "search": SEARCH, "trials": TRIALS}
    return from_dict(SweepConfig, {**settings, "tracking": {"mode": "none"}})


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds an encoder of 24 columns."""
    file = tmp_path_factory.mktemp("recipe") / "chosen.json"
    chosen = from_dict(Recipe, {**RECIPE, "sources": [{"name": "attention", "encoder": {"width": 24}}, "popularity"]})
    file.write_text(json.dumps(to_dict(chosen)))
    return file


@pytest.fixture(scope="module")
def slates(
    small_world: Dataset, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SweepResult, Path]:
    out = tmp_path_factory.mktemp("slates") / "sweep"
    assert small_world.path
    return run_sweep(config(encoder=str(recipe_file)), small_world.path, out), out


@pytest.mark.cluster
@pytest.mark.slow
def test_a_sweep_of_slates_ends_with_a_front_and_a_knee(slates: tuple[SweepResult, Path]) -> None:
    result, out = slates
    assert [row.state for row in result.trials] == ["finished"] * TRIALS
    for row in result.trials:
        assert set(row.metrics) == {"ndcg@10", "coverage@10", "ild@10", "rank_ms", "recall@10"}
        assert 0 < row.metrics["rank_ms"] < 1000
    board = json.loads((out / "leaderboard.json").read_text())
    assert board["level"] == "slate"
    assert result.knee in result.front
    assert board["best"] in result.front
    assert set(result.baselines) == {"popularity", "attention", "blend"}
    trial = from_dict(Recipe, load_yaml(out / "trials" / str(result.knee) / "recipe.yaml"))
    assert trial == from_dict(Recipe, load_yaml(out / "winner.yaml"))
    assert to_dict(trial)["sources"][0]["encoder"]["width"] == 24


@pytest.mark.cluster
@pytest.mark.slow
def test_a_pick_becomes_a_bundle_that_names_it(
    small_world: Dataset, slates: tuple[SweepResult, Path], tmp_path: Path
) -> None:
    result, out = slates
    command = ["train", "--data", str(small_world.path), "--from", str(out), "--pick", "knee"]
    done = CliRunner().invoke(cli, [*command, "--out", str(tmp_path / "bundle")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    bundle = Bundle.load(tmp_path / "bundle")
    assert bundle.manifest.sweep is not None
    assert (bundle.manifest.sweep["sweep"], bundle.manifest.sweep["trial"]) == (result.sweep_id, result.knee)
    trial = load_yaml(out / "trials" / str(result.knee) / "recipe.yaml")
    assert from_dict(Recipe, bundle.manifest.recipe) == from_dict(Recipe, trial) == bundle.model.recipe
    again = ["train", "--data", str(small_world.path), "--from", str(out), "--pick", "77", "--out", "x"]
    with pytest.raises(ConfigError, match=r"--pick 77: .* Known: knee, best, trial-000"):
        CliRunner().invoke(cli, again, catch_exceptions=False, standalone_mode=False)


@pytest.mark.slow
def test_a_trial_measures_what_training_the_recipe_measures(small_world: Dataset) -> None:
    asked = config(viewers=10_000, label_viewers=10_000)
    problem = asked.level.prepare(small_world, asked, lambda _: None)
    first = problem.first(asked.level.space(asked))
    assert first is not None
    told: dict[str, float] = {}
    problem.run(first, lambda step, own, save=None, /: not told.update(own), steps=1, cpus=1)
    trained = figures(fit(small_world, asked.recipe, upto="selection"), lambda _: None)
    for name in ("ndcg@10", "recall@10", "coverage@10", "ild@10"):
        assert told[name] == pytest.approx(trained["slate"][name], rel=1e-6), name
        assert problem.baselines()["popularity"][name] == pytest.approx(trained["popularity"][name], rel=1e-6), name


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"tune_for": ["ndcg"]}, "no objective is called 'ndcg'. Known: ndcg@10, coverage@10, ild@10, rank_ms"),
        ({"tune_for": []}, "at least one objective"),
        ({"settings": {"protocol": ["time"]}}, "'protocol' is not of the slate. Known: candidates"),
        ({"settings": {"ranker": ["lambdarank"]}}, "a ranker is searched by name, in level.rankers"),
        ({"settings": {"candidates": []}}, "level.settings.candidates: the list of values is empty"),
        ({"policies": ["mrm"]}, "level.policies: .*Did you mean 'mmr'"),
        ({"mix": [2.0]}, "shares from 0 to 1"),
        ({"encoder": "nowhere"}, "there is no such folder; name a finished sweep, a bundle or a recipe file"),
    ],
)
def test_a_mistake_is_one_line(small_world: Dataset, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        prepared(small_world, settings)


def prepared(dataset: Dataset, level: dict[str, Any]) -> Problem:
    asked = config(**level)
    return asked.level.prepare(dataset, asked, lambda _: None)


def test_an_encoder_that_was_chosen_on_other_windows_is_refused(small_world: Dataset, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("protocol: leave-one-out\n")
    with pytest.raises(ConfigError, match=r"chosen with another protocol: set recipe\.protocol"):
        prepared(small_world, {"encoder": str(tmp_path / "other.yaml")})


def test_the_encoders_search_settings_are_refused(small_world: Dataset) -> None:
    asked = from_dict(SweepConfig, {"level": LEVEL, "search": {"mixers": ["gated"]}})
    with pytest.raises(ConfigError, match=r"say level\.settings here"):
        asked.level.space(asked)
