"""The page of published sets holds what was measured, says what was not, and names the source of every figure."""

from __future__ import annotations

import importlib
import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import pytest

from foveate.core.config import from_dict, load_yaml
from foveate.data.dataset import Dataset

QUICK = [
    "sources=[covisitation, popularity]",
    "candidates=40",
    "label_windows=1",
    "ranker.trees=10",
    "ranker.members=1",
    "ranker.threads=1",
]


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    return importlib.import_module("results")


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    published = [{"model": "Other", "recall": 0.5, "ndcg": 0.25, "paper": "other", "unchecked": True}]
    sets = [
        {"name": "small", "title": "A small world, by time", "protocol": "time", "windows": 2, "published": published},
        {"name": "far", "title": "A set elsewhere", "protocol": "time", "missing": "it is far away"},
    ]
    file = tmp_path_factory.mktemp("plan") / "plan.yaml"
    file.write_text(json.dumps({"papers": {"other": "Someone (2020)"}, "sets": sets}))
    return file


def test_one_command_measures_a_set_and_remakes_the_page(
    bench: ModuleType,
    plan_file: Path,
    small_world: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page, printed = tmp_path / "results.md", io.StringIO()
    given = ["--plan", plan_file, "--kept", tmp_path / "kept.json", "--out", page]
    words = ["--run", "all", "--seeds", "1", "--data", f"small={small_world.path}", "--override", *QUICK]
    monkeypatch.setattr("sys.argv", ["results.py", *map(str, given), *words])
    with redirect_stdout(printed):
        bench.main()
    said = printed.getvalue()
    assert "far: not run: it is far away" in said
    assert re.search(r"^measured  small$", said, re.MULTILINE)
    kept = json.loads((tmp_path / "kept.json").read_text())["small"]
    assert len(kept["evaluation"]["windows"]) == 2
    text = page.read_text()
    assert "- Measured: small." in text
    assert "- Not run: far." in text
    assert "| Foveate | not run | not run | it is far away |" in text
    assert "| Other | 0.5000 | 0.2500 | other (not checked again) |" in text
    assert "- other: Someone (2020)" in text
    two_stage = next(row for row in kept["evaluation"]["rows"] if row["model"] == "two-stage")["metrics"]["ndcg@10"]
    assert f"{two_stage['mean']:.4f} ± {(two_stage['high'] - two_stage['low']) / 2:.4f} | measured |" in text
    assert f"data hash `{small_world.manifest.content_hash[:12]}`" in text
    assert f"hash `{kept['config_hash']}`" in text
    assert "changed by `sources=[covisitation, popularity]" in text, (
        "a page must not pass quick settings for the recipe"
    )
    assert "**Simulated data.**" in text


def test_an_unknown_set_is_refused(
    bench: ModuleType, plan_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["results.py", "--plan", str(plan_file), "--run", "smal"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "no set is called smal" in capsys.readouterr().err


def test_the_page_of_the_repository_is_made_of_what_is_kept(bench: ModuleType, repository: Path) -> None:
    plan = from_dict(bench.Plan, load_yaml(repository / "infra" / "bench" / "results.yaml"))
    text = bench.page(plan, bench.read_kept(repository / "infra" / "bench" / "results.json"))
    assert (repository / "docs" / "results.md").read_text() == text
    assert {one.paper for planned in plan.sets for one in planned.published} == set(plan.papers)
    recipes = repository / "infra" / "recipes"
    assert all((recipes / f"{one.recipe}.yaml").exists() for one in plan.sets if one.recipe)
