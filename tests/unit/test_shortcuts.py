"""What shortcuts of a log come to, on logs whose answer is known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from console import console
from foveate.audit.shortcuts import Shortcuts, shortcuts
from foveate.core.config import from_dict
from foveate.core.metrics import Interval
from foveate.data.dataset import Dataset
from foveate.data.importing.import_dataset import import_tables
from foveate.retrieval.base import SourceConfig

SMALL = from_dict(SourceConfig, {"name": "attention", "train": {"epochs": 1}, "encoder": {"width": 8, "blocks": 1}})
ITEMS, LENGTH = 40, 12


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Everyone walks round the same circle of items, from where they please: what comes next is certain."""
    rows = [
        {"user_id": f"u{user:03d}", "item_id": f"i{(user * 7 + step) % ITEMS:02d}", "timestamp": 1_700_000_000 + step}
        for user in range(120)
        for step in range(LENGTH)
    ]
    return import_tables(pl.DataFrame(rows), tmp_path_factory.mktemp("chain") / "data")


def test_a_log_of_certain_transitions_asks_little_of_a_model(chain: Dataset) -> None:
    [found] = shortcuts(chain, ["leave-one-out"], encoder=SMALL)
    assert found.predictable == 1.0
    assert found.ndcg["transition_walk"] == pytest.approx(1.0)
    assert found.repeated == found.tied == 0.0
    assert found.popular is None
    assert found.reaches is not None
    assert found.reaches.mean >= 1.0
    assert found.needs_model is False
    assert found.seconds is not None
    assert found.seconds > 0
    assert "asks little of a model" in found.sentence


@pytest.fixture(scope="module")
def alternating(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Every second item is of the viewer's own group, the others are anyone's: the newest item alone tells no group."""
    rng, rows = np.random.default_rng(0), []
    for user in range(200):
        own, common = rng.permutation(12)[:7], rng.permutation(30)[:8]
        pairs = zip((f"common {i}" for i in common[:7]), (f"group {user % 8}, {i}" for i in own), strict=True)
        walk = [*(item for pair in pairs for item in pair), f"common {common[7]}"]
        rows += [
            {"user_id": f"u{user}", "item_id": item, "timestamp": 1_700_000_000 + t} for t, item in enumerate(walk)
        ]
    return import_tables(pl.DataFrame(rows), tmp_path_factory.mktemp("alternating") / "data")


def test_a_log_whose_next_item_hangs_on_the_whole_history_needs_a_model(alternating: Dataset) -> None:
    train = {"epochs": 20, "batch_size": 32, "learning_rate": 0.01, "patience": 0}
    encoder = from_dict(SourceConfig, {"name": "attention", "train": train, "encoder": {"width": 16, "blocks": 1}})
    [found] = shortcuts(alternating, ["leave-one-out"], encoder=encoder)
    assert found.predictable < 0.2
    assert found.ndcg["attention"] > 0.3
    assert found.reaches is not None
    assert found.reaches.high < 0.5
    assert found.needs_model is True
    assert "this log needs a model" in found.sentence


def test_the_sentence_goes_by_the_share_that_the_best_shortcut_reaches() -> None:
    ndcg = {"transition_walk": 0.08, "recent_popularity": 0.05, "covisitation": 0.02, "attention": 0.1}
    found = Shortcuts("time", 10, 20, 0.0, None, 0.1, 0.2, ndcg, reaches=Interval(0.8, 0.71, 0.888))
    assert found.best == "transition_walk"
    assert found.sentence == (
        "time: transition_walk reaches 80% (71% to 89%) of a default encoder's NDCG@10 on validation: this log needs a "
        "model (the line is at 90%)"
    )
    enough = replace(found, reaches=Interval(0.9, 0.8, 1.0), window="test")
    assert "on the test window: this log asks little of a model" in enough.sentence
    assert found.to_json()["best"] == "transition_walk"
    nothing = replace(found, ndcg={**ndcg, "attention": 0.0}, reaches=Interval(math.inf, math.nan, math.nan))
    assert "predicts nothing on validation, and transition_walk has an NDCG@10 of 0.0800" in nothing.sentence
    assert nothing.to_json()["reaches"] == {"mean": None, "low": None, "high": None}
    assert found.to_json()["reaches"] == {"mean": 0.8, "low": 0.71, "high": 0.888}


def test_without_an_encoder_nothing_is_said_of_a_model(chain: Dataset) -> None:
    [found] = shortcuts(chain, ["leave-one-out"], train=False)
    assert set(found.ndcg) == {"transition_walk", "recent_popularity", "covisitation"}
    assert (found.reaches, found.needs_model, found.seconds) == (None, None, None)
    assert "no encoder was trained" in found.sentence


def test_the_same_rule_reads_the_test_window(chain: Dataset) -> None:
    [found] = shortcuts(chain, ["leave-one-out"], encoder=SMALL, window="test")
    assert found.ndcg["transition_walk"] == pytest.approx(1.0)
    assert "on the test window" in found.sentence


def test_the_verb_says_what_counting_comes_to(
    chain: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = console(monkeypatch, capsys)
    # Of a model that is trained for a while the test asks nothing.
    monkeypatch.setattr("foveate.audit.shortcuts.default_encoder", lambda protocol: SMALL)
    done = run("audit", "--shortcuts", str(chain.path), "--json", str(tmp_path / "found.json"))
    assert done.status == 0, done.err
    assert "leave-one-out: transition_walk reaches" in done.out
    found = json.loads((tmp_path / "found.json").read_text())["shortcuts"]
    assert [one["protocol"] for one in found] == ["leave-one-out"], "seconds cannot be cut into days"
    assert run("audit").err == "foveate: Missing option '--bundle'.\nTry 'foveate audit --help'.\n"
