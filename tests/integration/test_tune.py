"""A real sweep: Ray Tune trains, W&B writes its files, and a winner comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from click.testing import CliRunner

import foveate
from foveate.bundle import Bundle, default_state
from foveate.core.config import from_dict, load_yaml
from foveate.core.errors import ConfigError, OutputExistsError, TrainingError
from foveate.data.dataset import Dataset
from foveate.encoder.training.checkpoint import load_checkpoint
from foveate.recommend.recipe import Recipe
from foveate_cli.main import cli
from foveate_tune.config import SweepConfig
from foveate_tune.results.leaderboard import SweepResult
from foveate_tune.results.pick import read_pick
from foveate_tune.run_sweep import run_sweep

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

EPOCHS = 3
METRIC = "ndcg@10"
SETTINGS: dict[str, Any] = {"trials": 4, "epochs": EPOCHS, "tracking": {"mode": "offline"}}


@pytest.fixture(scope="module")
def sweep(small_sweep: tuple[SweepResult, Path]) -> tuple[SweepResult, Path]:
    """Four trials of three epochs on the small world."""
    return small_sweep


def reports(out: Path, trial: str) -> list[dict[str, Any]]:
    lines = (out / "trials" / trial / "result.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_four_trials_differ_and_are_ordered(sweep: tuple[SweepResult, Path]) -> None:
    result, out = sweep
    assert len(result.trials) == 4
    assert len({json.dumps(dict(row.settings), sort_keys=True) for row in result.trials}) == 4
    values = [row.metrics[METRIC] for row in result.trials]
    assert values == sorted(values, reverse=True)
    assert result.winner == result.trials[0].name
    written = json.loads((out / "leaderboard.json").read_text())
    assert [row["trial"] for row in written["rows"]] == [row.name for row in result.trials]


def test_the_winner_beats_popularity(sweep: tuple[SweepResult, Path]) -> None:
    result, _ = sweep
    assert result.trials[0].metrics[METRIC] > result.popularity[METRIC] > 0


def test_every_epoch_reports_the_validation_metric(sweep: tuple[SweepResult, Path]) -> None:
    result, out = sweep
    for row in result.trials:
        told = reports(out, row.name)
        assert len(told) == len(row.epochs) <= EPOCHS
        assert max(one[METRIC] for one in told) == pytest.approx(row.metrics[METRIC])
        assert row.state == "finished" if len(row.epochs) == EPOCHS else row.state == "stopped early"


def test_every_trial_tells_what_it_takes_to_repeat_it(small_world: Dataset, sweep: tuple[SweepResult, Path]) -> None:
    result, out = sweep
    for row in result.trials:
        facts = json.loads((out / "trials" / row.name / "facts.json").read_text())
        assert {"foveate", "commit", "seed", "config"} <= set(facts)
        assert facts["sweep"] == result.sweep_id
        assert facts["data"]["hash"] == small_world.manifest.content_hash
        params = json.loads((out / "trials" / row.name / "params.json").read_text())
        assert {key: value for key, value in params.items() if key != "trial"} == dict(row.settings)


def test_every_trial_keeps_a_checkpoint_without_pickle(sweep: tuple[SweepResult, Path]) -> None:
    result, out = sweep
    for row in result.trials:
        assert row.checkpoint
        [file] = (out / row.checkpoint).rglob("*.safetensors")
        assert load_checkpoint(file).group("model")


def test_the_winners_recipe_is_a_recipe(sweep: tuple[SweepResult, Path]) -> None:
    result, out = sweep
    recipe = from_dict(Recipe, load_yaml(out / "winner.yaml"))
    assert recipe == result.recipe
    assert "attention" in [type(source).name for source in recipe.sources]
    assert yaml.safe_load((out / "sweep.yaml").read_text())["data"]["simulated"] is True


def test_nothing_is_left_running(sweep: tuple[SweepResult, Path]) -> None:
    assert sweep
    assert not ray.is_initialized()


def test_the_winner_becomes_a_bundle(small_world: Dataset, sweep: tuple[SweepResult, Path], tmp_path: Path) -> None:
    result, out = sweep
    assert small_world.path
    picked = read_pick(out)
    bundle = foveate.train(small_world, picked.recipe, out=tmp_path / "bundle", origin=picked.origin)
    again = Bundle.load(tmp_path / "bundle")
    assert again.bundle_id == bundle.bundle_id
    origin = again.manifest.sweep
    assert origin
    assert (origin["sweep"], origin["trial"], origin["seed"]) == (result.sweep_id, result.winner, 0)
    assert origin["data"]["hash"] == small_world.manifest.content_hash
    assert origin["settings"] == dict(result.trials[0].settings)
    assert {"foveate", "commit"} <= set(origin)
    assert again.manifest.simulated
    assert again.manifest.metrics["validation"]["two-stage"]["ndcg@10"] > 0
    assert default_state(tmp_path / "bundle").exists()
    with pytest.raises(OutputExistsError):
        foveate.train(small_world, picked.recipe, out=tmp_path / "bundle", origin=picked.origin)


def test_tracking_none_writes_nothing_of_it(small_world: Dataset, tmp_path: Path) -> None:
    assert small_world.path
    quiet = from_dict(SweepConfig, {"trials": 1, "epochs": 1, "tracking": {"mode": "none", "tensorboard": False}})
    run_sweep(quiet, small_world.path, tmp_path / "sweep")
    assert not list(tmp_path.rglob("*wandb*"))
    assert not list(tmp_path.rglob("*tensorboard*"))


def test_a_loss_that_explodes_is_said_and_leaves_nothing(small_world: Dataset, tmp_path: Path) -> None:
    assert small_world.path
    wild = {
        "trials": 1,
        "epochs": 1,
        "tracking": {"mode": "none"},
        "search": {"settings": {"train.learning_rate": [1e30]}},
    }
    source = {"name": "attention", "train": {"learning_rate": 1e30}}
    config = from_dict(SweepConfig, {**wild, "recipe": {"sources": [source, "popularity"]}})
    with pytest.raises(TrainingError, match="no trial came to an end"):
        run_sweep(config, small_world.path, tmp_path / "sweep")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trials=0"], "trials must be 1 or more"),
        (["cpus=4096"], "one trial asks for 4096 CPUs"),
        (["search.mixers=[]", "search.settings={encoder.width: []}"], "the list of values is empty"),
        (["--address", "127.0.0.1:1"], "no Ray cluster answers there"),
        (["--address", "nowhere"], "must be auto, HOST:PORT or ray://HOST:PORT"),
    ],
)
def test_a_mistake_is_found_before_anything_starts(
    small_world: Dataset, tmp_path: Path, words: list[str], says: str
) -> None:
    command = ["tune", "--data", str(small_world.path), "--out", str(tmp_path / "sweep"), *words]
    with pytest.raises(ConfigError, match=says):
        CliRunner().invoke(cli, command, catch_exceptions=False, standalone_mode=False)
    assert not ray.is_initialized()
    assert not list(tmp_path.iterdir())


@pytest.mark.soak
def test_a_trial_can_be_trained_by_several_processes(small_world: Dataset, tmp_path: Path) -> None:
    settings = {**SETTINGS, "trials": 1, "epochs": 2, "workers": 2, "concurrent": 1, "tracking": {"mode": "none"}}
    assert small_world.path
    result = run_sweep(from_dict(SweepConfig, settings), small_world.path, tmp_path / "sweep")
    (row,) = result.trials
    assert (row.state, len(row.epochs)) == ("finished", 2)
    assert row.metrics[METRIC] > 0
    assert row.checkpoint is not None
    kept = load_checkpoint(tmp_path / "sweep" / row.checkpoint / "encoder.safetensors")
    assert kept.facts["epochs_done"] == row.best_epoch
