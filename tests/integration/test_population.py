"""A real sweep in which trials take up each other's weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foveate.config import from_dict
from foveate.data.dataset import Dataset
from foveate.encoder.checkpoint import load_checkpoint
from foveate_tune.config import SweepConfig
from foveate_tune.leaderboard import SweepResult
from foveate_tune.space import MIXER, SCORER
from foveate_tune.sweep import run_sweep

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
    assert [row.state for row in result.rows] == ["finished"] * 4
    for row in result.rows:
        assert [one["epoch"] for one in reports(out, row.trial)] == list(range(1, EPOCHS + 1))


def test_the_worst_goes_on_from_a_better_ones_weights(population: tuple[SweepResult, Path, list[str]]) -> None:
    result, out, news = population
    told = {row.trial: reports(out, row.trial) for row in result.rows}
    at_first = {trial: own[INTERVAL - 1] for trial, own in told.items()}
    worst, best = (pick(at_first, key=lambda trial: at_first[trial]["ndcg@10"]) for pick in (min, max))
    before, after, donor = told[worst][INTERVAL - 1], told[worst][INTERVAL], told[best][INTERVAL - 1]
    assert shape(after["settings"]) == shape(donor["settings"])
    assert after["settings"][RATE] != before["settings"][RATE]
    # Its loss goes on falling from where the other's was.
    assert after["loss"] < donor["loss"] < before["loss"]
    assert any(line.startswith(f"{worst} goes on from a better trial's weights") for line in news)


def test_a_row_tells_the_settings_of_its_best_epoch(population: tuple[SweepResult, Path, list[str]]) -> None:
    result, out, _ = population
    for row in result.rows:
        assert dict(row.settings) == reports(out, row.trial)[row.best_epoch - 1]["settings"]
        assert row.checkpoint is not None
        kept = load_checkpoint(out / row.checkpoint / "encoder.safetensors")
        assert kept.facts["epochs_done"] == row.best_epoch
        assert kept.group("model")["items.weight"].shape[1] == row.settings["encoder.width"]
        assert {MIXER, SCORER} <= set(row.settings)
