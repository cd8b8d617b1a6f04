"""The command that makes the table of mixers, scorers and heads, on a small world."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from foveate.data.dataset import Dataset

Run = Callable[..., str]


@pytest.fixture
def table(repository: Path, tmp_path: Path) -> Run:
    """The command, with its files in a folder of the test's own."""

    def run(*words: str | Path) -> str:
        script = repository / "infra" / "bench" / "attention_table.py"
        files = ("--json", tmp_path / "rows.json", "--out", tmp_path / "table.md")
        command = [sys.executable, script, *files, "--epochs", "1", *words]
        environment = {**os.environ, "FOVEATE_DATA": str(tmp_path / "nowhere")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_rows_are_measured_once_and_kept(table: Run, small_world: Dataset, tmp_path: Path) -> None:
    assert small_world.path is not None
    asked = ("--data", small_world.path, "--only", "mean_pool", "--only", "cosine", "train.negatives=32")
    assert "1/1 mean_pool x cosine" in table(*asked)
    stored = json.loads((tmp_path / "rows.json").read_text())
    (row,) = stored["rows"]
    assert row["with_items"] - row["parameters"] == row["measured_on"]["encoder"]["width"] * small_world.items.height
    assert 0 < row["metrics"]["ndcg@10"] < row["metrics"]["recall@10"] < 1
    assert min(row["rows_per_second"], row["request_ms"], row["epochs"]) > 0

    again = table(*asked, "--only", "dot_product")
    assert "1/2 mean_pool x cosine" in again
    assert [line.endswith(", kept") for line in again.splitlines()] == [True, False]
    assert json.loads((tmp_path / "rows.json").read_text())["rows"][0] == row
    markdown = (tmp_path / "table.md").read_text()
    assert f"NDCG@10 {stored['popularity']['ndcg@10']:.4f}" in " ".join(markdown.split())
    assert "[simulated]" in markdown
    beats = "yes" if row["metrics"]["ndcg@10"] > stored["popularity"]["ndcg@10"] else "no"
    assert (
        f"| mean_pool | cosine | {row['metrics']['ndcg@10']:.4f} | {row['metrics']['recall@10']:.4f} | {beats} |"
        in markdown
    )


def test_without_data_it_says_so(table: Run, tmp_path: Path) -> None:
    assert "skipped: there is no" in table()
    assert not (tmp_path / "rows.json").exists()
