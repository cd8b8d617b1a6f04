"""The figures of the benchmarks that ask rankers: by hand, on a few rows."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from foveate.core.messages import FeatureMatrix
from foveate.features.core import Feature
from foveate.features.sets import FeatureSet, choose
from foveate.ranking.base import TrainingSet
from foveate.ranking.blend import LinearBlend
from foveate.recommend.recipe import Recipe


@pytest.fixture
def benches(repository: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(repository / "infra" / "bench"))
    return {
        name: importlib.import_module(name)
        for name in ("feature_groups", "impressions_gauc", "lab.frozen", "lab.logged")
    }


def test_every_column_of_a_ranker_belongs_to_one_group() -> None:
    chosen = choose((), "time")
    features = FeatureSet(("a", "b"), ("remark",), chosen, {}, None, Recipe().signals)  # type: ignore[arg-type]
    columns = [name for own in features.groups.values() for name in own]
    assert sorted(columns) == sorted(features.names)
    assert set(features.groups) == {"sources", "source_features", "viewer", "video", "cross"}
    assert {cls.group for _, cls in Feature.variants.items()} == {"viewer", "video", "cross"}


def test_the_area_under_the_curve_is_that_of_each_viewers_own_list(benches: dict[str, ModuleType]) -> None:
    logged, bench = benches["lab.logged"], benches["impressions_gauc"]
    shown = logged.Shown(
        user=np.array([0, 0, 0, 0, 3, 3, 5], dtype=np.int32),
        item=np.arange(7, dtype=np.int32),
        done=np.array([1, 0, 0, 1, 0, 1, 1], dtype=np.float32),
    )
    assert shown.lists().tolist() == [0, 4, 6, 7]
    scores = np.array([3, 2, 1, 1, 1, 9, 0], dtype=np.float32)
    found = logged.aucs(scores, shown)
    # Of viewer 0: 3 > 2 and 3 > 1 are right, 1 < 2 is wrong, 1 = 1 ties.
    np.testing.assert_allclose(found, [2.5 / 4, 1.0, np.nan])
    assert bench.gauc(found[:2], np.array([4.0, 2.0])) == pytest.approx((4 * 0.625 + 2) / 6)
    lines = bench.lines_of({bench.OURS: scores, "turned": -scores}, shown, 0)
    assert lines[0].above == 0
    assert lines[1].gauc == pytest.approx(1 - lines[0].gauc)
    assert lines[1].above == pytest.approx(2 * lines[0].gauc - 1)
    assert lines[1].low <= lines[1].above <= lines[1].high


def test_without_a_group_the_same_candidates_lack_its_columns(benches: dict[str, ModuleType], tmp_path: Path) -> None:
    frozen, bench = benches["lab.frozen"], benches["feature_groups"]
    features = FeatureMatrix(("good", "bad"), "schema", np.array([[2, 0], [1, 5], [0, 9], [1, 3]], dtype=np.float32))
    own = frozen.Frozen(
        training=TrainingSet(features, np.ones(4, np.float32), np.array([4]), np.array([0])),
        groups={"sources": ("good",), "video": ("bad",)},
        features=features,
        items=np.array([4, 5, 7, 9], dtype=np.int32),
        rows=np.array([0, 3, 4]),
        targets=np.array([4, 8], dtype=np.int32),
        offsets=np.array([0, 1, 2]),
    )
    assert own.ndcg(LinearBlend({"good": 1.0})).tolist() == [1.0, 0.0]
    assert own.ndcg(LinearBlend({"bad": 1.0})).tolist() == [0.5, 0.0]
    assert own.without(frozenset({"good"})).features.names == ("bad",)
    assert own.without(frozenset({"good"})).training.features.values.shape == (4, 1)
    parts = bench.parts(own, each=True)
    assert list(parts.values()) == [{"good"}, {"bad"}, {"bad"}, {"good"}, {"bad"}]
    frozen._keep(own, tmp_path / "kept")
    again = frozen._read(tmp_path / "kept")
    assert again.features.names == own.features.names
    np.testing.assert_array_equal(again.features.values, own.features.values)
    line = bench.line("video", 1, np.array([[0.5, 0.1]]), np.array([[0.6, 0.4]]))
    assert line.change == pytest.approx(-0.2)
    assert "| video | 1 | 0.3000 | -0.2000 (" in bench.table([line], 0.5, "told")
