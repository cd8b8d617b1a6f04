"""Whose encoder a second stage is tuned on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from foveate.bundle import Bundle
from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.recommend.recipe import Recipe
from foveate.storage.folder import Folder
from foveate_tune.config import SweepConfig
from foveate_tune.levels.chosen_encoder import attention_of, with_encoder
from foveate_tune.levels.encoder import EncoderLevel
from foveate_tune.results.leaderboard import SweepResult
from foveate_tune.trials.record import TrialRecord

CHOSEN = from_dict(Recipe, {"sources": ["popularity", {"name": "attention", "encoder": {"width": 24}}]})
OWN = from_dict(Recipe, {"sources": ["ease", "attention", "popularity"], "candidates": 30})


def test_a_recipe_keeps_its_own_encoder() -> None:
    assert with_encoder(None, OWN, "abc", print) == OWN
    with pytest.raises(ConfigError, match="has no 'attention' source"):
        with_encoder(None, from_dict(Recipe, {"sources": ["popularity"]}), "abc", print)


def test_a_recipe_files_encoder_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "chosen.yaml").write_text(yaml.safe_dump(to_dict(CHOSEN)))
    told: list[str] = []
    found = with_encoder(str(tmp_path / "chosen.yaml"), OWN, "abc", told.append)
    assert attention_of(found) == attention_of(CHOSEN)
    assert [type(source).name for source in found.sources] == ["ease", "attention", "popularity"]
    assert found.candidates == 30
    assert told == [f"encoder of the recipe '{tmp_path / 'chosen.yaml'}'"]


@pytest.mark.parametrize(("data", "remark"), [("abc", ""), ("another", ", which was chosen on other data")])
def test_a_sweeps_pick_gives_its_encoder(tmp_path: Path, data: str, remark: str) -> None:
    folder, level = Folder.at(tmp_path / "sweep"), EncoderLevel()
    folder.make()
    row = TrialRecord("trial-000", SweepConfig(level=level), {})
    row.add({"ndcg@10": 0.2, "recall@10": 0.3, "epoch": 1, "seconds": 1.0})
    row.end()
    facts = {"data": {"hash": "abc"}}
    SweepResult("s1", level, (row,), CHOSEN, {"popularity": {"ndcg@10": 0.1}}, 1.0, facts).write(folder)
    (folder / "trials" / "trial-000").write("recipe.yaml", yaml.safe_dump(to_dict(CHOSEN)))
    told: list[str] = []
    found = with_encoder(str(tmp_path / "sweep"), OWN, data, told.append)
    assert attention_of(found) == attention_of(CHOSEN)
    assert told == [f"encoder of trial-000 of sweep s1{remark}"]


def test_a_bundles_recipe_gives_its_encoder(small_bundle: Bundle) -> None:
    told: list[str] = []
    found = with_encoder(str(small_bundle.path), OWN, small_bundle.manifest.data_hash, told.append)
    assert attention_of(found) == attention_of(small_bundle.model.recipe)
    assert told == [f"encoder of bundle {small_bundle.bundle_id}"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is neither a finished sweep, nor a bundle, nor a recipe file"):
        with_encoder(str(tmp_path), OWN, "abc", print)
