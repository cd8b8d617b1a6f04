"""A dataset, a sweep, a bundle and a state that an earlier release wrote are read as they were meant.

``tests/data/written_by_0.1.0.tar.xz`` was written by commit 9d83d95 with the commands ``data simulate``, ``tune``,
``train`` and ``recommend``; ``slate.json`` in it is what that ``recommend`` answered.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from foveate.bundle import Bundle
from foveate.data.dataset import open_dataset
from foveate.state.connect import open_viewers
from foveate.storage.folder import Folder
from foveate_cli.recommend import command
from foveate_tune.report.record import read_sweep
from foveate_tune.results.pick import read_pick


@pytest.fixture
def written(repository: Path, tmp_path: Path) -> Path:
    with tarfile.open(repository / "tests/data/written_by_0.1.0.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path


def test_a_dataset(written: Path) -> None:
    dataset = open_dataset(written / "data")
    assert dataset.events.collect().height == dataset.manifest.rows["events"] > 0


def test_a_sweep(written: Path) -> None:
    sweep = read_sweep(Folder.at(written / "sweep"))
    board = json.loads((written / "sweep" / "leaderboard.json").read_text())
    assert [trial.to_json() for trial in sweep.trials] == [
        {key: value for key, value in row.items() if key not in ("rank", "front")} | {"checkpoint": None}
        for row in board["rows"]
    ]
    assert sweep.winner.name == board["winner"]
    pick = read_pick(written / "sweep")
    assert (pick.trial, pick.data_hash) == (board["winner"], board["data"]["hash"])


def test_a_bundle_and_the_viewers_beside_it_answer_as_they_did(written: Path) -> None:
    before = json.loads((written / "slate.json").read_text())
    bundle = Bundle.load(written / "bundle")
    assert bundle.bundle_id == before["bundle_id"]
    options = ["--bundle", str(written / "bundle"), "--user", before["user_id"], "-k", str(len(before["items"]))]
    moment = ["--seed", str(before["seed"]), "--now", "2026-01-01T00:00:00Z", "--json", str(written / "now.json")]
    done = CliRunner().invoke(command, [*options, *moment], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    now = json.loads((written / "now.json").read_text())
    assert [item["item_id"] for item in now["items"]] == [item["item_id"] for item in before["items"]]
    assert [item["score"] for item in now["items"]] == pytest.approx([item["score"] for item in before["items"]])
    assert {name: now[name] for name in ("policy_id", "state_version", "cold", "seed")} == {
        name: before[name] for name in ("policy_id", "state_version", "cold", "seed")
    }


def test_a_state(written: Path) -> None:
    path = written / "bundle.state.sqlite"
    with sqlite3.connect(path) as plain:
        events = plain.execute("SELECT count(*) FROM events").fetchone()[0]
        [user] = plain.execute("SELECT user_id FROM events GROUP BY user_id ORDER BY count(*) LIMIT 1").fetchone()
        own = plain.execute("SELECT count(*) FROM events WHERE user_id = ?", (user,)).fetchone()[0]
    with open_viewers(str(path)) as state:
        [history] = state.histories([user])
        assert len(history.item_ids) == own
    with sqlite3.connect(path) as plain:
        assert plain.execute("SELECT count(*) FROM events").fetchone()[0] == events
