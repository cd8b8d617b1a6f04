"""Retrieval out of an index: what it finds is measured, what is excluded stays out, and a bundle finds the same."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foveate.attention.base import ScorerConfig
from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.core.messages import NO_TIME, Query
from foveate.data.events import Histories
from foveate.retrieval.attention import AttentionSource
from foveate.retrieval.base import FitContext, SourceConfig, top_k
from foveate.retrieval.index.auto import Auto
from foveate.retrieval.index.base import IndexConfig
from foveate.retrieval.index.inverted import Inverted
from foveate.retrieval.merge import gather

ITEMS, WIDTH, CLUSTERS = 3000, 16, 40


@pytest.fixture(scope="module")
def vectors() -> tuple[np.ndarray, np.ndarray]:
    """Items of forty clusters, some long and some short, and thirty viewers near them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, WIDTH))

    def near(count: int) -> np.ndarray:
        return centres[rng.integers(0, CLUSTERS, count)] + 0.4 * rng.normal(size=(count, WIDTH))

    length = rng.uniform(0.5, 2.0, (ITEMS, 1))
    return (near(ITEMS) * length).astype(np.float32), near(30).astype(np.float32)


NOTHING = np.empty(0, dtype=np.int32)


def recall(index: Any, items: np.ndarray, users: np.ndarray, exclude: np.ndarray = NOTHING, k: int = 50) -> float:
    shares = []
    for user in users:
        best = set(top_k(items @ user, exclude, k).tolist())
        found = index.search(user, k, exclude)
        assert len(found) == len(set(found.tolist())) <= k
        assert not np.isin(found, exclude).any()
        shares.append(len(best & set(found.tolist())) / k)
    return float(np.mean(shares))


def test_more_lists_find_more_and_all_find_all(vectors: tuple[np.ndarray, np.ndarray]) -> None:
    items, users = vectors
    index = Inverted().build(items, 0)
    found = []
    for probes in (1, 4, 16, index.most_probes):
        index.probes = probes
        found.append(recall(index, items, users))
    assert found == sorted(found)
    assert found[0] < 0.9
    assert found[-1] == 1.0
    best_first = index.search(users[0], 20, NOTHING)
    assert (np.diff((items @ users[0])[best_first]) <= 1e-5).all()


@pytest.mark.parametrize("many", [30, 2500])
def test_the_excluded_are_left_out_before_the_top_is_taken(vectors: tuple[np.ndarray, np.ndarray], many: int) -> None:
    """The best are excluded, be they few, which are dropped, or many, which the index is told."""
    items, users = vectors
    index = Inverted().build(items, 0)
    index.probes = index.most_probes
    exclude = np.sort(top_k(items @ users[0], NOTHING, many))
    assert recall(index, items, users[:1], exclude) == 1.0
    assert len(index.search(users[0], 50, np.arange(ITEMS - 3, dtype=np.int32))) == 3


def test_an_index_is_the_same_from_its_arrays(vectors: tuple[np.ndarray, np.ndarray]) -> None:
    items, users = vectors
    config = Inverted(probes=3)
    index = config.build(items, 0)
    again = config.restore(items, index.arrays())
    for user in users:
        np.testing.assert_array_equal(again.search(user, 40, NOTHING), index.search(user, 40, NOTHING))
    assert all(isinstance(array, np.ndarray) for array in index.arrays().values())


@pytest.fixture(scope="module")
def world(checkerboard: Any) -> FitContext:
    """Sixty viewers who walked random ways over the checkerboard's items."""
    rng = np.random.default_rng(1)
    walks = [rng.permutation(12)[: rng.integers(0, 9)].astype(np.int32) for _ in range(60)]
    return FitContext(Histories.of(walks, 12), checkerboard.catalog, NO_TIME, seed=0)


def source_of(world: FitContext, scorer: str, index: dict[str, Any] | str) -> AttentionSource:
    settings = {"encoder": {"width": 16, "scorer": scorer}, "train": {"epochs": 2, "threads": 1}}
    source = from_dict(SourceConfig, {"name": "attention", **settings, "index": index}).fit(world)
    assert isinstance(source, AttentionSource)
    return source


@pytest.mark.parametrize("scorer", list(ScorerConfig.variants))
def test_every_scorer_can_be_looked_up(scorer: str, world: FitContext, checkerboard: Any) -> None:
    """With every list read, the index finds what scoring all finds, whether the match is a dot product or not."""
    exact = source_of(world, scorer, "exact")
    looked_up = source_of(world, scorer, {"name": "inverted", "lists": 3, "probes": 3, "widen": 12})
    assert exact.finder is None
    assert looked_up.finder is not None
    assert looked_up.finder.recall == pytest.approx(1.0)
    queries = [*(checkerboard.query_of(own) for own in list(world.histories)[:9]), checkerboard.query_of(NOTHING)]
    for k in (3, 12):
        for a, b in zip(exact.retrieve(queries, k), looked_up.retrieve(queries, k), strict=True):
            assert set(a.tolist()) == set(b.tolist())
    found, other = (gather([source], queries, [4]) for source in (exact, looked_up))
    for a, b in zip(found, other, strict=True):
        np.testing.assert_array_equal(a.items, b.items)
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)
        np.testing.assert_array_equal(a.offered, b.offered)


def test_a_bundle_holds_what_the_index_was_laid_out_by(world: FitContext, checkerboard: Any) -> None:
    config = from_dict(SourceConfig, {"name": "attention", "encoder": {"width": 16}, "train": {"epochs": 1}})
    config = dataclasses.replace(config, index=Inverted(lists=4, recall=0.99))
    source = config.fit(world)
    again = from_dict(SourceConfig, to_dict(config)).restore(source.arrays(), checkerboard.catalog)
    assert isinstance(again, AttentionSource)
    assert again.finder is not None
    assert again.finder.recall == pytest.approx(source.finder.recall)  # type: ignore[attr-defined]
    queries: list[Query] = [checkerboard.query_of(own) for own in list(world.histories)[:9]]
    for a, b in zip(source.retrieve(queries, 5), again.retrieve(queries, 5), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(source.scores(queries), again.scores(queries))


def test_probes_are_doubled_until_the_recall_is_reached(world: FitContext) -> None:
    said: list[str] = []
    context = replace(world, progress=said.append)
    finder = source_of(context, "dot_product", {"name": "inverted", "lists": 6, "recall": 1.0}).finder
    assert finder is not None
    assert finder.recall == 1.0
    assert said[-1] == f"index: recall@200 1.000 reading {finder.index.probes} of 6 lists"


def test_auto_goes_by_the_number_of_items() -> None:
    auto = Auto(exact_up_to=1000, recall=0.9)
    assert auto.chosen(1000) is None
    assert auto.chosen(1001) == Inverted(recall=0.9)
    assert Auto().chosen(1_000_000) is None
    assert set(IndexConfig.variants) == {"auto", "exact", "inverted"}
    assert from_dict(SourceConfig, "attention").index == Auto()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "settings",
    [{"name": "inverted", "recall": 0}, {"name": "inverted", "widen": 0}, {"name": "auto", "exact_up_to": -1}],
)
def test_impossible_indexes_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        from_dict(IndexConfig, settings)


@pytest.mark.parametrize("n_items", [50, 900, 5000])
@pytest.mark.parametrize("k", [0, 1, 7, 200, 6000])
def test_the_top_of_many_is_that_of_a_full_sort(n_items: int, k: int) -> None:
    """Scores tie often; the excluded lie side by side, so that whole blocks are shut."""
    rng = np.random.default_rng(n_items + k)
    scores = rng.normal(size=n_items).round(2).astype(np.float32)
    exclude = np.arange(n_items // 3, dtype=np.int32)
    expected = np.lexsort((np.arange(n_items), -np.where(np.arange(n_items) < n_items // 3, -np.inf, scores)))
    assert top_k(scores, exclude, k).tolist() == expected[: min(k, n_items - len(exclude))].tolist()
    assert top_k(scores, np.arange(n_items, dtype=np.int32), k).tolist() == []
