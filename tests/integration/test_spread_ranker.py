"""Trees grown by two processes of a real Ray cluster: as good as one process's, and served like any others."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.bundle import Bundle
from foveate.core import metrics
from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.core.messages import FeatureMatrix
from foveate.data.dataset import Dataset
from foveate.ranking.base import RankerConfig, TrainingSet, column
from foveate.ranking.boosted import BoostedRanker
from foveate.ranking.growing import Parameters, Rows
from foveate.ranking.lambdarank import LambdaRank
from foveate.recommend.recipe import Recipe
from foveate.training import fit
from foveate_cluster.distributed_ranker import OverRay
from foveate_cluster.ray_cluster import ray_cluster
from foveate_cluster.workers import grower_of

CANDIDATES, COLUMNS = 20, 8
NAMES = (*(f"f{place}" for place in range(COLUMNS - 1)), "blend")
RECIPE: dict[str, Any] = {
    "sources": [{"name": "popularity"}, {"name": "covisitation"}],
    "candidates": 60,
    "label_windows": 2,
    "ranker": {"name": "lambdarank", "trees": 25, "leaves": 8, "learning_rate": 0.1, "members": 2, "min_rows": 20},
}


def queries(seed: int, count: int) -> TrainingSet:
    """Each has one label: the candidate that two columns and their product speak for, with noise."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count * CANDIDATES, COLUMNS)).astype(np.float32)
    worth = values[:, 0] + 0.5 * values[:, 1] + values[:, 2] * values[:, 3] + 0.5 * rng.normal(size=len(values))
    best = worth.reshape(count, CANDIDATES).argmax(axis=1)
    labels = (np.arange(CANDIDATES) == best[:, None]).astype(np.float32).ravel()
    matrix = FeatureMatrix(NAMES, "schema", values)
    return TrainingSet(matrix, labels, np.full(count, CANDIDATES), np.zeros(count, dtype=np.int64))


def newest_window(training: TrainingSet) -> TrainingSet:
    """The queries of the last label window alone."""
    queries_Q = training.windows == training.windows.max()
    rows_R = np.repeat(queries_Q, training.groups)
    features = dataclasses.replace(training.features, values=training.features.values[rows_R])
    return TrainingSet(features, training.labels[rows_R], training.groups[queries_Q], training.windows[queries_Q])


def ndcg(scores: np.ndarray, asked: TrainingSet) -> float:
    """NDCG@10 of each query's first label among its candidates."""
    values = []
    for query, labels in zip(
        *(np.split(own, np.cumsum(asked.groups)[:-1]) for own in (scores, asked.labels)), strict=True
    ):
        ranks = metrics.mid_ranks(query[None, :], np.array([labels.argmax()]), [()])
        values.append(float(metrics.ndcg_at(ranks, 10)[0]))
    return float(np.mean(values))


@pytest.mark.cluster
@pytest.mark.slow
def test_two_workers_grow_trees_as_good_as_one_process_does_and_a_bundle_keeps_them(
    small_world: Dataset, tmp_path: Path
) -> None:
    """Both rankers learn up to the selection's window and are asked about that; one of them on a cluster of Ray."""
    plain = fit(small_world, from_dict(Recipe, RECIPE), upto="selection")
    held_out = newest_window(fit(small_world, from_dict(Recipe, RECIPE), upto="test").training)
    with ray_cluster(None, least_cpus=2):
        recipe = from_dict(Recipe, {**RECIPE, "ranker": {**RECIPE["ranker"], "workers": 2}})
        spread = fit(small_world, recipe, upto="selection", grower=OverRay())
        with pytest.raises(ConfigError, match=r"ranker\.workers: 64 workers of 1 CPUs each"):
            LambdaRank(trees=2, workers=64).fit(queries(0, 100), 0, OverRay())

    ranker = spread.model.ranker
    assert isinstance(ranker, BoostedRanker)
    assert len(ranker.boosters) == 2
    by_chance = ndcg(np.random.default_rng(0).normal(size=len(held_out.labels)), held_out)
    reached, expected = (ndcg(own.score(held_out.features), held_out) for own in (ranker, plain.model.ranker))
    assert expected > 1.5 * by_chance
    assert abs(reached / expected - 1.0) < 0.1
    assert not any("127.0.0.1" in text or socket.gethostname() in text for text in ranker.texts().values())
    saved = Bundle.save(spread.model, tmp_path / "bundle", data_hash="0", data="small world")
    again = Bundle.load(saved.path).model.ranker
    np.testing.assert_array_equal(again.score(held_out.features), ranker.score(held_out.features))
    assert not list(saved.path.rglob("*.pkl"))


def test_every_query_stays_whole_with_one_worker() -> None:
    rng = np.random.default_rng(4)
    groups = rng.integers(1, 9, 101)
    query_R = np.repeat(np.arange(101), groups).astype(np.float32)
    rows = Rows(
        values=np.stack([query_R, rng.normal(size=len(query_R))], axis=1).astype(np.float32),
        names=("query", "noise"),
        labels=query_R * 2,
        groups=groups,
        weights=query_R * 3,
        start=query_R.astype(np.float64) * 4,
    )
    hands = rows.partition(4)
    held = [np.unique(hand.values[:, 0]) for hand in hands]
    assert sorted(np.concatenate(held).tolist()) == list(range(101)), "each query with one worker, and none lost"
    assert max(map(len, held)) - min(map(len, held)) <= 1
    for hand in hands:
        own = hand.values[:, 0]
        expected = np.repeat(np.unique(own), hand.groups)
        assert own.tolist() == expected.tolist(), "its groups say where its queries begin and end"
        assert hand.weights is not None
        assert hand.start is not None
        for column_R, times in ((hand.labels, 2), (hand.weights, 3), (hand.start, 4)):
            assert np.asarray(column_R).tolist() == (own * times).tolist()


def test_more_workers_than_queries_are_refused() -> None:
    rows = Rows(np.zeros((4, 1), np.float32), ("f",), np.zeros(4), np.array([2, 2]))
    with pytest.raises(ConfigError, match=r"ranker\.workers: 3 workers for 2 training queries"):
        rows.partition(3)


def test_workers_without_a_cluster_to_ask_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"ranker\.workers: 2 grow trees over Ray"):
        LambdaRank(workers=2).fit(queries(0, 10), 0)
    with pytest.raises(ConfigError, match="workers must be 0 or more"):
        LambdaRank(workers=-1)


def test_the_command_line_asks_ray_where_a_recipe_has_workers() -> None:
    assert isinstance(grower_of(LambdaRank(workers=2)), OverRay)
    assert grower_of(LambdaRank()) is None
    assert grower_of(from_dict(RankerConfig, {"name": "logistic"})) is None


def test_a_grower_is_told_all_members_and_what_they_start_from() -> None:
    """What the library hands over: every member's parameters, and the rows with the blend that trees correct."""
    seen: list[tuple[Rows, Sequence[Parameters], int, int]] = []
    training = queries(0, 40)
    config = LambdaRank(trees=3, members=2, min_rows=2, blend_weight=2.0, workers=5)
    plain = dataclasses.replace(config, workers=0).fit(training, 1)

    def grower(rows: Rows, members: Sequence[Parameters], *, trees: int, workers: int) -> list[str]:
        seen.append((rows, members, trees, workers))
        return list(plain.texts().values())

    ranker = config.fit(training, 1, grower)
    [(rows, members, trees, workers)] = seen
    assert (trees, workers) == (3, 5)
    assert [one["seed"] for one in members] == [2, 3]
    assert rows.start is not None
    np.testing.assert_allclose(rows.start, 2.0 * column(training.features, "blend"), rtol=1e-6)
    np.testing.assert_array_equal(ranker.score(training.features), plain.score(training.features))
