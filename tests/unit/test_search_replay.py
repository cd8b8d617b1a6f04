"""Searches replayed on records that are made by hand: what they find is known."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from foveate.core.config import from_dict
from foveate.data.dataset import Dataset

SEARCH = {
    "mixers": ["gated", "filtered"],
    "scorers": ["dot_product"],
    "settings": {"encoder": {"width": [32, 64, 128]}, "train": {"learning_rate": {"log_uniform": [1e-3, 1e-1]}}},
}
EPOCHS = 8


@pytest.fixture(scope="module")
def lab() -> ModuleType:
    return importlib.import_module("lab.searches")


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return importlib.import_module("search_replay")


def draws(lab: ModuleType, count: int) -> list[dict[str, Any]]:
    space = lab.build_space(from_dict(lab.SearchConfig, SEARCH))
    return [space.draw(index, 7) for index in range(count)]


def record(lab: ModuleType, count: int = 60) -> Any:
    """The better, the nearer the rate is to 0.01 and with the filtered mixer; curves rise towards that."""

    def value(draw: dict[str, Any]) -> float:
        away = abs(math.log10(draw["train.learning_rate"] / 0.01))
        return 0.5 - 0.3 * away + 0.1 * (draw["encoder.mixer"] == "filtered")

    settings = tuple(
        lab.Setting(draw, tuple(value(draw) * (1 - 0.5**epoch) for epoch in range(1, EPOCHS + 1)))
        for draw in draws(lab, count)
    )
    return lab.Record("made up", "hash", "leave-one-out", SEARCH, EPOCHS, True, settings)


def strategy(lab: ModuleType, bench: ModuleType, name: str) -> Any:
    return next(one for one in bench.strategies(bench.SEARCHERS, bench.SCHEDULERS) if one.name == name)


def test_random_search_finds_the_best_of_as_many_as_it_tries(lab: ModuleType, bench: ModuleType) -> None:
    whole = record(lab, 40)
    plain = strategy(lab, bench, "random, none")
    found = lab.replays(whole, plain, trials=6, count=60)
    assert {(one.trials, one.epochs) for one in found} == {(6, 6 * EPOCHS)}
    finals = np.sort([one.curve[-1] for one in whole.settings])
    drawn = np.random.default_rng(0).permuted(np.tile(finals, (4000, 1)), axis=1)[:, :6].max(axis=1)
    mean = np.mean([one.value for one in found])
    # Places of a record stand for what lies around them, so that its thin spots come up a little more often.
    assert mean == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 60**0.5)


def test_no_setting_is_used_twice_and_a_whole_record_holds_its_best(lab: ModuleType, bench: ModuleType) -> None:
    whole = record(lab, 12)
    for name in ("random, none", "optuna, none", "optuna, asha, warm"):
        found = lab.replay(whole, strategy(lab, bench, name), trials=40, seed=3)
        assert found.trials == 12
        assert found.value == whole.best


def test_early_stops_pay_for_more_trials_within_the_same_epochs(lab: ModuleType, bench: ModuleType) -> None:
    whole = record(lab)
    found = [lab.replay(whole, strategy(lab, bench, "random, asha"), trials=6, seed=seed) for seed in range(10)]
    assert all(one.epochs == 6 * EPOCHS for one in found), "a trial is cut short where the budget ends"
    assert np.mean([one.trials for one in found]) > 9


def test_a_warm_start_begins_with_what_the_sweep_began_with(lab: ModuleType, bench: ModuleType) -> None:
    whole = record(lab, 20)
    best = max(whole.settings, key=lambda one: one.curve[-1])
    others = tuple(one for one in whole.settings if one is not best)
    first = replace(whole, settings=(best, *others))
    for seed in range(3):
        found = lab.replay(first, strategy(lab, bench, "random, none, warm"), trials=1, seed=seed)
        assert (found.setting, found.value) == (0, whole.best)


@pytest.mark.soak
def test_a_searcher_that_learns_is_seen_to_find_more(lab: ModuleType, bench: ModuleType) -> None:
    asked = [strategy(lab, bench, name) for name in ("random, none", "optuna, none")]
    _, learned = bench.compared(record(lab, 300), trials=40, count=20, seed=1, asked=asked)
    assert learned.difference.absolute.low > 0


def test_distance_counts_variants_and_shares_of_domains(lab: ModuleType) -> None:
    space = lab.build_space(from_dict(lab.SearchConfig, SEARCH))
    one = {"encoder.mixer": "gated", "encoder.scorer": "dot_product", "encoder.width": 32, "train.learning_rate": 1e-3}
    assert lab.distance(space, one, one) == 0
    assert lab.distance(space, one, {**one, "encoder.mixer": "filtered"}) == 1
    assert lab.distance(space, one, {**one, "encoder.width": 64}) == pytest.approx(0.5)
    assert lab.distance(space, one, {**one, "train.learning_rate": 1e-2}) == pytest.approx(0.5)


def test_a_diverged_setting_costs_an_epoch_and_finds_nothing(lab: ModuleType, bench: ModuleType) -> None:
    whole = record(lab, 6)
    broken = replace(whole, settings=tuple(replace(one, curve=()) for one in whole.settings[:5]) + whole.settings[5:])
    found = lab.replay(broken, strategy(lab, bench, "optuna, none"), trials=6, seed=0)
    assert (found.setting, found.epochs) == (5, 5 + EPOCHS)


def test_the_verb_prints_a_ratio_for_each_strategy(
    lab: ModuleType, bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    file, whole = tmp_path / "small.json", record(lab, 10)
    settings = [{"draw": one.draw, "curve": list(one.curve), "seconds": 1.0} for one in whole.settings]
    facts = {name: getattr(whole, name) for name in ("data", "content_hash", "protocol", "search", "epochs", "first")}
    file.write_text(json.dumps({**facts, "version": "x", "settings": settings}))
    monkeypatch.setattr("sys.argv", ["search_replay.py", str(file), "--trials", "2", "--replays", "3"])
    bench.main()
    said = capsys.readouterr().out
    ratios = [line for line in said.splitlines() if line.startswith("ratio ")]
    assert len(ratios) == 7
    assert "10 settings of 8 epochs" in said
    assert ratios[0].startswith("ratio replay_small_random_none_warm ")


@pytest.mark.soak
def test_a_sweep_is_recorded_and_replayed(
    lab: ModuleType, bench: ModuleType, small_world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = importlib.import_module("search_record")
    out = tmp_path / "record.json"
    words = [str(small_world.path), "--out", str(out), "--sweep", str(tmp_path / "sweep"), "--settings", "5"]
    monkeypatch.setattr("sys.argv", ["search_record.py", *words, "--epochs", "2", "--protocol", "time"])
    recorder.main()
    again = out.read_text()
    recorder.main()
    assert out.read_text() == again, "what is recorded is not trained again"
    kept = from_dict(lab.Record, bench._known(json.loads(again)))
    assert [len(one.curve) for one in kept.settings] == [2] * 5
    assert lab.replay(kept, strategy(lab, bench, "optuna, asha, warm"), trials=5, seed=0).value == kept.best
