"""A ranker that is left at its default gives way to a blend that does as well on validation."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

import foveate
from foveate.api import training
from foveate.data.dataset import Dataset
from foveate.ranking.base import Ranker
from foveate.ranking.blend import LogisticBlend
from foveate.ranking.ensemble import Ensemble
from foveate.recommend.recipe import Recipe
from foveate.training import Fitted

QUICK: dict[str, Any] = {"sources": ["covisitation", "popularity"], "label_windows": 1, "candidates": 40}


@pytest.mark.parametrize(("blend", "shipped"), [(0.3, "logistic"), (0.2, "logistic"), (0.1, "lambdarank")])
def test_the_better_one_on_validation_is_shipped_and_both_are_shown(
    blend: float, shipped: str, small_world: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def figures(
        fitted: Fitted, progress: object, rankers: Mapping[str, Ranker] = MappingProxyType({})
    ) -> dict[str, dict[str, float]]:
        learned = isinstance(fitted.model.recipe.ranker, LogisticBlend)
        others = {name: {"ndcg@10": blend} for name in rankers}
        return {"two-stage": {"ndcg@10": blend if learned else 0.2}, "popularity": {"ndcg@10": 0.05}, **others}

    said: list[str] = []
    monkeypatch.setattr(training, "figures", figures)
    bundle = foveate.train(small_world, QUICK, progress=said.append)
    rows = bundle.manifest.metrics["validation"]
    assert type(bundle.model.recipe.ranker).name == shipped
    assert rows["two-stage"]["ndcg@10"] == max(blend, 0.2)
    assert any("it is shipped" in line for line in said) == (shipped == "logistic")
    other = "two-stage by lambdarank" if shipped == "logistic" else "logistic blend"
    assert rows[other]["ndcg@10"] == min(blend, 0.2)


def test_an_ensemble_is_shipped_where_it_is_the_best(small_world: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def figures(
        fitted: Fitted, progress: object, rankers: Mapping[str, Ranker] = MappingProxyType({})
    ) -> dict[str, dict[str, float]]:
        joined = isinstance(fitted.model.recipe.ranker, Ensemble)
        others = {name: {"ndcg@10": 0.3 if name == "ensemble" else 0.1} for name in rankers}
        return {"two-stage": {"ndcg@10": 0.3 if joined else 0.2}, "popularity": {"ndcg@10": 0.05}, **others}

    said: list[str] = []
    monkeypatch.setattr(training, "figures", figures)
    bundle = foveate.train(small_world, QUICK, progress=said.append)
    rows = bundle.manifest.metrics["validation"]
    shipped = bundle.model.recipe.ranker
    assert isinstance(shipped, Ensemble)
    assert [type(one).name for one in shipped.rankers] == ["lambdarank", "logistic", "linear"]
    assert {name: rows[name]["ndcg@10"] for name in ("two-stage", "two-stage by lambdarank", "logistic blend")} == {
        "two-stage": 0.3,
        "two-stage by lambdarank": 0.2,
        "logistic blend": 0.1,
    }
    assert any("ensemble does as well as lambdarank" in line for line in said)


def test_a_ranker_that_was_named_stays(small_world: Dataset) -> None:
    named = {"ranker": {"name": type(Recipe().ranker).name, "trees": 5, "min_rows": 1}}
    bundle = foveate.train(small_world, {**QUICK, **named})
    assert type(bundle.model.recipe.ranker).name == type(Recipe().ranker).name
    assert "logistic blend" not in bundle.manifest.metrics["validation"]


def test_really_measured_the_figures_agree_with_what_is_shipped(small_world: Dataset) -> None:
    bundle = foveate.train(small_world, QUICK)
    rows = bundle.manifest.metrics["validation"]
    if isinstance(bundle.model.recipe.ranker, LogisticBlend):
        assert rows["two-stage"]["ndcg@10"] >= rows["two-stage by lambdarank"]["ndcg@10"]
    else:
        assert rows["two-stage"]["ndcg@10"] > rows["logistic blend"]["ndcg@10"]
