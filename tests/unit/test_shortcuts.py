"""What shortcuts of a log come to, on logs whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from console import console
from foveate.audit.shortcuts import Shortcuts, shortcuts
from foveate.core.config import from_dict
from foveate.data.dataset import Dataset
from foveate.data.importing.run import import_tables
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
    assert found.reach >= 1.0
    assert "asks little of a model" in found.sentence


def test_the_sentence_goes_by_the_share_that_the_best_shortcut_reaches() -> None:
    ndcg = {"transition_walk": 0.08, "recent_popularity": 0.05, "covisitation": 0.02, "attention": 0.1}
    found = Shortcuts("time", 10, 20, 0.0, None, 0.1, 0.2, ndcg)
    assert (found.best, found.reach) == ("transition_walk", pytest.approx(0.8))
    assert found.sentence == (
        "time: transition_walk reaches 80% of a default encoder's NDCG@10 on validation: this log needs a model "
        "(the line is at 90%)"
    )
    enough = replace(found, ndcg={**ndcg, "transition_walk": 0.091})
    assert "asks little of a model" in enough.sentence
    assert found.to_json()["best"] == "transition_walk"


def test_the_verb_says_what_counting_comes_to(
    chain: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = console(monkeypatch, capsys)
    # Of a model that is trained for a while the test asks nothing.
    monkeypatch.setitem(SourceConfig.variants._all(), "attention", lambda: SMALL)  # type: ignore[arg-type]
    done = run("audit", "--shortcuts", str(chain.path), "--json", str(tmp_path / "found.json"))
    assert done.status == 0, done.err
    assert "leave-one-out: transition_walk reaches" in done.out
    found = json.loads((tmp_path / "found.json").read_text())["shortcuts"]
    assert [one["protocol"] for one in found] == ["leave-one-out"], "seconds cannot be cut into days"
    assert run("audit").err == "foveate: Missing option '--bundle'.\nTry 'foveate audit --help'.\n"
