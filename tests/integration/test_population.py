"""A real sweep in which trials take up each other's weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.data.dataset import Dataset
from foveate.data.world.config import SimulateConfig
from foveate.data.world.simulate import simulate_dataset
from foveate.encoder.training.checkpoint import load_checkpoint
from foveate.storage.folder import Folder
from foveate_cli.main import cli
from foveate_tune.config import SweepConfig
from foveate_tune.report.base import Picture
from foveate_tune.report.record import read_sweep
from foveate_tune.results.leaderboard import SweepResult
from foveate_tune.results.verdict import compare_sweep
from foveate_tune.run_sweep import run_sweep
from foveate_tune.space import MIXER, SCORER

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

RATE = "train.learning_rate"
EPOCHS, INTERVAL = 5, 2
SETTINGS: dict[str, Any] = {
    "trials": 4,
    "epochs": EPOCHS,
    "tracking": {"mode": "none"},
    "scheduler": {"name": "pbt", "interval": INTERVAL},
    "search": {
        "mixers": ["mean_pool", "filtered"],
        "scorers": ["dot_product"],
        "settings": {"encoder": {"width": [16, 32]}, "train": {"learning_rate": {"log_uniform": [1e-4, 1e-2]}}},
    },
}


@pytest.fixture(scope="module")
def population(small_world: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepResult, Path, list[str]]:
    out = tmp_path_factory.mktemp("pbt") / "sweep"
    news: list[str] = []
    assert small_world.path
    return run_sweep(from_dict(SweepConfig, SETTINGS), small_world.path, out, progress=news.append), out, news


def reports(out: Path, trial: str) -> list[dict[str, Any]]:
    """A trial's reports, each with the settings that it was trained with: the file says where they change."""
    lines = (out / "trials" / trial / "result.json").read_text().splitlines()
    facts = json.loads((out / "trials" / trial / "facts.json").read_text())
    settings, told = {key: value for key, value in facts["config"].items() if key != "trial"}, []
    for report in map(json.loads, lines):
        settings = report.get("settings", settings)
        told.append({**report, "settings": settings})
    return told


def shape(settings: dict[str, Any]) -> dict[str, Any]:
    """What an encoder is made of: all but what is perturbed."""
    return {key: value for key, value in settings.items() if key != RATE}


def test_every_trial_trains_every_epoch_once(population: tuple[SweepResult, Path, list[str]]) -> None:
    result, out, _ = population
    assert [row.state for row in result.trials] == ["finished"] * 4
    for row in result.trials:
        assert [one["epoch"] for one in reports(out, row.name)] == list(range(1, EPOCHS + 1))


def test_the_worst_goes_on_from_a_better_ones_weights(population: tuple[SweepResult, Path, list[str]]) -> None:
    result, out, news = population
    told = {row.name: reports(out, row.name) for row in result.trials}
    at_first = {trial: own[INTERVAL - 1] for trial, own in told.items()}
    worst, best = (pick(at_first, key=lambda trial: at_first[trial]["ndcg@10"]) for pick in (min, max))
    before, after, donor = told[worst][INTERVAL - 1], told[worst][INTERVAL], told[best][INTERVAL - 1]
    assert shape(after["settings"]) == shape(donor["settings"])
    assert after["settings"][RATE] != before["settings"][RATE]
    # Its loss goes on falling from where the other's was, whose list was the better one.
    assert after["loss"] < donor["loss"]
    assert before["ndcg@10"] < donor["ndcg@10"]
    assert any(line.startswith(f"{worst} goes on from a better trial's weights") for line in news)


def test_a_row_tells_the_settings_of_its_best_epoch(population: tuple[SweepResult, Path, list[str]]) -> None:
    result, out, _ = population
    for row in result.trials:
        assert dict(row.settings) == reports(out, row.name)[row.best_epoch - 1]["settings"]
        assert row.checkpoint is not None
        kept = load_checkpoint(out / row.checkpoint / "encoder.safetensors")
        assert kept.facts["epochs_done"] == row.best_epoch
        assert kept.group("model")["items.weight"].shape[1] == row.settings["encoder.width"]
        assert {MIXER, SCORER} <= set(row.settings)


def test_its_winner_is_compared_with_the_default_on_the_window_that_no_trial_saw(
    population: tuple[SweepResult, Path, list[str]], small_world: Dataset, tmp_path: Path
) -> None:
    result, out, _ = population
    recipe = tmp_path / "popular.yaml"
    source = {"name": "attention", "encoder": {"mixer": "mean_pool", "width": 8}, "train": {"epochs": 1}}
    recipe.write_text(yaml.safe_dump({"sources": [source]}))
    against = ["--against", "default", "--against", str(recipe), "--seeds", "2", "--json", str(tmp_path / "told.json")]
    command = ["compare", str(out), "--data", str(small_world.path), *against]
    ran = CliRunner().invoke(cli, command, catch_exceptions=False, standalone_mode=False)
    told = json.loads((out / "verdict.json").read_text())
    assert told == json.loads((tmp_path / "told.json").read_text())
    ours, default, weak = told["contenders"]
    assert (told["sweep"], told["trial"], told["window"], told["seeds"]) == (
        result.sweep_id,
        result.winner,
        "test",
        [0, 1],
    )
    assert (ours["epochs"], ours["searched_epochs"]) == (result.trials[0].best_epoch, 4 * EPOCHS)
    assert 1 <= default["epochs"] <= EPOCHS
    assert weak["epochs"] == 1
    for rival, compared in zip((default, weak), told["comparisons"], strict=True):
        assert compared["against"] == rival["name"]
        gains = [a - b for a, b in zip(ours["by_seed"], rival["by_seed"], strict=True)]
        assert compared["by_seed"] == pytest.approx(gains)
        assert compared["difference"]["mean"] == pytest.approx(ours["mean"]["mean"] - rival["mean"]["mean"])
        assert f"{result.winner} is {compared['verdict']}" in ran.output
    assert weak["mean"]["mean"] < ours["mean"]["mean"]
    record = read_sweep(Folder.at(out))
    assert record.verdict == told
    picture = Picture.variants["verdict"]()
    panel = picture.draw(record)
    assert panel is not None
    assert panel.figure is not None
    assert panel.table is not None
    assert [row[0] for row in panel.table.rows] == [ours["name"], "default", "popular"]
    assert all(one["verdict"] in panel.caption for one in told["comparisons"])
    assert picture.draw(dataclasses.replace(record, verdict=None)) is None


def test_a_comparison_on_other_data_is_refused(population: tuple[SweepResult, Path, list[str]], tmp_path: Path) -> None:
    other = simulate_dataset(SimulateConfig(viewers=60, items=60, days=8, seed=1), tmp_path / "other")
    assert other.path
    with pytest.raises(ConfigError, match="was made on other data"):
        compare_sweep(population[1], other.path, ["default"])
    with pytest.raises(ConfigError, match="make one with 'foveate tune'"):
        compare_sweep(tmp_path / "none", other.path, ["default"])
