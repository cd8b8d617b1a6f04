"""Which trial of a finished sweep is trained, from leaderboards written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from foveate.core.config import to_dict
from foveate.core.errors import ConfigError
from foveate.recommend.recipe import Recipe
from foveate.storage.folder import Folder
from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import Level
from foveate_tune.levels.encoder import EncoderLevel
from foveate_tune.levels.slate import SlateLevel
from foveate_tune.results.leaderboard import SweepResult, ordered
from foveate_tune.results.pick import read_pick
from foveate_tune.trials.record import State, TrialRecord

SLATES = SlateLevel(tune_for=("ndcg@10", "coverage@10"))
FACTS = {"foveate": "0", "commit": None, "data": {"hash": "abc"}, "seed": 0}


def row(number: int, ndcg: float, coverage: float, state: State = "finished", why: str | None = None) -> TrialRecord:
    trial = TrialRecord(f"trial-{number:03d}", SweepConfig(level=SLATES), {"candidates": 10 + number})
    if state == "finished":
        figures = {"ndcg@10": ndcg, "coverage@10": coverage, "ild@10": 0.5, "recall@10": ndcg}
        trial.add({**figures, "epoch": 1, "seconds": 1.0})
    trial.state, trial.reason = state, why
    return trial


ROWS = [
    row(0, 0.10, 0.50),
    row(1, 0.19, 0.48),  # the knee: nearly as good as the best, and nearly as varied as trial-000
    row(2, 0.20, 0.10),
    row(3, 0.18, 0.40),  # trial-001 is better in both
    row(4, 0.0, 0.0, "diverged", "the loss is not finite"),
]


def written(tmp_path: Path, level: Level, rows: list[TrialRecord]) -> Path:
    folder = Folder.at(tmp_path / "sweep")
    folder.make()
    baselines = {"popularity": {"ndcg@10": 0.05}}
    SweepResult("s1", level, ordered(rows, level.figures), Recipe(), baselines, 9.0, FACTS).write(folder)
    for own in rows:
        recipe = to_dict(Recipe(candidates=own.settings["candidates"]))
        (folder / "trials" / own.name).write("recipe.yaml", yaml.safe_dump(recipe))
    return tmp_path / "sweep"


@pytest.fixture
def slates(tmp_path: Path) -> Path:
    return written(tmp_path, SLATES, ROWS)


@pytest.mark.parametrize(
    ("pick", "trial"),
    [(None, 1), ("knee", 1), ("best", 2), ("trial-003", 3), ("3", 3), ("0", 0)],
)
def test_a_trial_is_picked_by_what_it_is_or_by_name(slates: Path, pick: str | None, trial: int) -> None:
    picked = read_pick(slates, pick)
    assert picked.trial == f"trial-{trial:03d}"
    assert picked.recipe == Recipe(candidates=10 + trial)
    assert picked.origin == {
        "sweep": "s1",
        "trial": picked.trial,
        **FACTS,
        "settings": {"candidates": 10 + trial},
    }


def test_the_leaderboard_marks_the_front_and_its_knee(slates: Path) -> None:
    board = json.loads((slates / "leaderboard.json").read_text())
    assert (board["best"], board["knee"], board["winner"]) == ("trial-002", "trial-001", "trial-001")
    assert board["front"] == ["trial-002", "trial-001", "trial-000"]
    assert [one["trial"] for one in board["rows"]] == [f"trial-{n:03d}" for n in (2, 1, 3, 0, 4)]
    assert [one["front"] for one in board["rows"]] == [True, True, False, True, False]
    assert board["objectives"] == [
        {"name": "ndcg@10", "direction": "max"},
        {"name": "coverage@10", "direction": "max"},
    ]
    lines = (slates / "leaderboard.md").read_text().splitlines()
    cells = [[text.strip() for text in line.strip("|").split("|")] for line in lines]
    assert {len(line) for line in cells} == {len(cells[0])}
    marks = {line[1]: line[cells[0].index("front")] for line in cells[2:]}
    expected = {"trial-002": "front", "trial-001": "knee", "trial-003": "", "trial-000": "front", "trial-004": ""}
    assert marks == expected | {"popularity": ""}


def test_the_knee_of_a_single_objective_is_the_best(tmp_path: Path) -> None:
    sweep = written(tmp_path, EncoderLevel(), ROWS)
    assert {read_pick(sweep, pick).trial for pick in (None, "knee", "best")} == {"trial-002"}
    board = json.loads((sweep / "leaderboard.json").read_text())
    assert board["knee"] is None
    assert "front" not in (sweep / "leaderboard.md").read_text()


@pytest.mark.parametrize(
    ("pick", "says"),
    [
        ("9", "no such trial. Known: knee, best, trial-000, trial-001, trial-002, trial-003, trial-004"),
        ("worst", "--pick worst: sweep s1 has no such trial"),
        ("4", "trial-004 diverged: the loss is not finite; pick another trial"),
    ],
)
def test_a_trial_that_cannot_be_trained_is_refused(slates: Path, pick: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_pick(slates, pick)


def test_a_sweep_that_is_not_finished_has_no_pick(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        read_pick(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"has no winner.*--resume"):
        read_pick(tmp_path)
    (tmp_path / "leaderboard.json").write_text("{}")
    with pytest.raises(ConfigError, match="is damaged"):
        read_pick(tmp_path)
