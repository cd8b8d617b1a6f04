"""The whole road, as a newcomer walks it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOVEATE = Path(sys.executable).with_name("foveate")


def foveate(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [FOVEATE, *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.cluster
@pytest.mark.slow
def test_the_demo_sweeps_trains_serves_and_asks(tmp_path: Path) -> None:
    world = ("--viewers", "400", "--items", "300", "--days", "14")
    done = foveate("demo", "--once", *world, "--port", "0", "--out", "d", "--json", "d.json", "epochs=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    story = json.loads((tmp_path / "d.json").read_text())
    assert story["simulated"]
    assert "[simulated]" in done.stdout
    assert list(story["seconds"]) == ["data", "sweep", "train", "serve", "ask"]
    rows = story["sweep"]["rows"]
    assert len(rows) >= 4
    assert len({json.dumps(row["settings"], sort_keys=True) for row in rows}) >= 3
    assert rows[0]["metrics"]["ndcg@10"] > story["sweep"]["popularity"]["ndcg@10"]
    *known, stranger, again = story["requests"]
    for one in story["requests"]:
        channels = [item["channel_id"] for item in one["answer"]["items"]]
        assert len(channels) == one["request"]["k"]
        assert max(map(channels.count, channels)) <= 2
    assert not any(one["answer"]["cold"] for one in known)
    assert stranger["answer"]["cold"]
    watched = known[0]["answer"]["items"][0]["item_id"]
    assert watched not in {item["item_id"] for item in again["answer"]["items"]}

    request_id = known[0]["answer"]["request_id"]
    replayed = foveate("replay", request_id, cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"d", "d.json"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--data", "x"), "--data and --reader go together"),
        (("--data", "x", "--reader", "kuairnd"), "Did you mean 'kuairand'?"),
        (("--data", "x", "--reader", "kuairand", "--items", "30"), "--items is of a simulated world"),
        (("trails=3",), "unknown setting 'trails'. Did you mean 'trials'?"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    done = foveate("demo", "--once", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
