"""The figures of the curves of slates: by hand, on a few points."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def bench(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "infra" / "bench"))
    return importlib.import_module("diversity_curve")


def points_of(bench: ModuleType, *changes: tuple[float, float]) -> list[Any]:
    return [
        bench.Point("a-set", "mmr", 0.1 * place, 0.1, 0.5, 0.5, ndcg, ndcg - 1.0, ndcg + 1.0, ndcg, unlike)
        for place, (ndcg, unlike) in enumerate(changes)
    ]


def test_what_is_gained_at_a_loss_lies_between_two_points(bench: ModuleType) -> None:
    assert bench.gain_at(points_of(bench, (-0.5, 4.0), (-1.5, 10.0)), 1.0) == pytest.approx(7.0)
    # Mixing with the ranker's own order reaches half of what costs twice as much.
    assert bench.gain_at(points_of(bench, (-0.9, 1.0), (-2.0, 12.0)), 1.0) == pytest.approx(6.0)
    # A point that pays nothing counts whole, and one that pays more than may be lost is not stretched.
    assert bench.gain_at(points_of(bench, (0.3, 5.0)), 1.0) == 5.0
    assert bench.gain_at([], 1.0) == 0.0


def test_the_page_holds_every_point_and_what_was_measured(bench: ModuleType) -> None:
    options = argparse.Namespace(window="test", likeness="learned", slots=10)
    page = bench.table(points_of(bench, (-0.5, 4.0), (-1.5, 10.0)), options)
    assert "--window test" in page
    assert "At 1 % less NDCG@10: `mmr` +7.0 %." in page
    assert "| `mmr` | 0 | -0.50 % (-1.5 to +0.5) | +4.0 % |" in page
    assert "| `mmr` | 0.1 | -1.50 % (-2.5 to -0.5) | +10.0 % |" in page
