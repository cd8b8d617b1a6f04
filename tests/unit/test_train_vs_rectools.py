"""The race of two trainings: whose turn it is, and what the ratios are made of."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

WAITING = """
import json, sys
for line in json.loads(sys.argv[1]):
    print(json.dumps(line), flush=True)
    if sys.stdin.readline().strip() != "go":
        break
"""


@pytest.fixture
def bench(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "infra" / "bench"))
    return importlib.import_module("train_vs_rectools")


def side(bench: ModuleType, folder: Path, name: str, seconds: float, ndcg: list[float]) -> Any:
    told = [
        {"epoch": epoch, "rows": 1000, "seconds": seconds, "ndcg@10": value, "recall@10": value}
        for epoch, value in enumerate(ndcg, start=1)
    ]
    command = [sys.executable, "-c", WAITING, json.dumps(told)]
    return bench.Side(name, command, folder / f"{name}.log", context=None)


def test_the_side_that_trained_less_goes_on(bench: ModuleType, tmp_path: Path) -> None:
    quick = side(bench, tmp_path, "quick", 50.0, [0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    slow = side(bench, tmp_path, "slow", 125.0, [0.02, 0.025, 0.5])
    bench.race((quick, slow), seconds=250.0, epochs=1)
    assert [point.seconds for point in quick.points] == [50, 100, 150, 200, 250]
    assert [point.seconds for point in slow.points] == [125, 250]
    assert quick.process.poll() is not None
    assert slow.process.poll() is not None
    told = {name: value for name, value, _ in bench.figures(quick, slow)}
    assert told["train_vs_rectools_rows"] == pytest.approx(2.5)
    # At the second epoch 0.02 stands beside 0.025, at the first 0.01 beside 0.02.
    assert told["train_vs_rectools_ndcg_by_epoch"] == pytest.approx(0.5)
    # From two minutes on: after 125 s 0.02 beside 0.02, after 250 s 0.05 beside 0.025.
    assert told["train_vs_rectools_ndcg_by_time"] == pytest.approx(1.0)


def test_a_rival_that_has_found_nothing_yet_is_no_measure(bench: ModuleType, tmp_path: Path) -> None:
    ours, theirs = (side(bench, tmp_path, name, 10.0, ndcg) for name, ndcg in (("a", [0.01, 0.02]), ("b", [0.0, 0.01])))
    bench.race((ours, theirs), seconds=20.0, epochs=2)
    ratios = {name: value for name, value, _ in bench.figures(ours, theirs, "train_vs_rectools_hstu")}
    assert ratios == {"train_vs_rectools_hstu_rows": 1.0, "train_vs_rectools_hstu_ndcg_by_epoch": 2.0}


def test_a_side_that_ends_early_is_told_with_its_last_words(bench: ModuleType, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('out of memory')"]
    broken = bench.Side("broken", command, tmp_path / "broken.log", context=None)
    with pytest.raises(SystemExit, match="broken ended early"):
        bench.race((broken,), seconds=1.0, epochs=1)
    assert "out of memory" in (tmp_path / "broken.log").read_text()


def test_without_data_it_says_so(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("FOVEATE_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setattr(sys, "argv", ["train_vs_rectools.py", "--scratch", str(tmp_path / "scratch")])
    bench.main()
    assert capsys.readouterr().out.startswith("skipped: there is no")
    assert not (tmp_path / "scratch").exists()
