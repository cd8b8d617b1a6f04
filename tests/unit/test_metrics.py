"""Measures against values worked out by hand and against slow, plain rewrites of their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import sparse

from foveate.core import metrics

NOTHING = np.empty(0, dtype=np.int32)


def plain_rank(scores: np.ndarray, target: int, exclude: np.ndarray) -> float:
    def value(item: int) -> float:
        return float(scores[item]) if np.isfinite(scores[item]) else -np.inf

    others = [i for i in range(len(scores)) if i != target and i not in exclude.tolist()]
    ahead = sum(value(i) > value(target) for i in others)
    return ahead + 0.5 * sum(value(i) == value(target) for i in others)


def test_mid_ranks_by_hand() -> None:
    scores = np.array([[0.9, 0.5, 0.5, 0.5, 0.1]])
    assert metrics.mid_ranks(scores, np.array([0]), [NOTHING]).tolist() == [0.0]
    assert metrics.mid_ranks(scores, np.array([1]), [NOTHING]).tolist() == [2.0]
    assert metrics.mid_ranks(scores, np.array([4]), [np.array([0, 2])]).tolist() == [2.0]


def test_a_model_that_scores_everything_alike_does_not_look_good() -> None:
    n_items = 200
    ranks = metrics.mid_ranks(np.zeros((50, n_items)), np.arange(50), [NOTHING] * 50)
    assert set(ranks.tolist()) == {(n_items - 1) / 2}
    assert metrics.ndcg_at(ranks, 10).sum() == 0
    assert metrics.recall_at(ranks, 10).sum() == 0


def test_mid_ranks_against_a_plain_rewrite() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.integers(0, 4, (7, 15)).astype(np.float32)
        scores[rng.random(scores.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
        targets = rng.integers(0, 15, 7)
        exclude = [np.setdiff1d(rng.integers(0, 15, 5), [t]) for t in targets]
        before = scores.copy()
        expected = [plain_rank(scores[b], targets[b], exclude[b]) for b in range(7)]
        assert metrics.mid_ranks(scores, targets, exclude).tolist() == expected
        np.testing.assert_array_equal(scores, before)


def test_ranks_of_several_targets_and_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 6, (5, 30)).astype(np.float64)
    rows, targets = np.repeat(np.arange(5), 4), rng.integers(0, 30, 20)
    exclude = [np.setdiff1d(np.arange(3), targets)] * 5
    expected = [plain_rank(scores[r], t, exclude[r]) for r, t in zip(rows, targets, strict=True)]
    monkeypatch.setattr(metrics, "_CHUNK", 64)
    assert metrics.mid_ranks_many(scores, rows, targets, exclude).tolist() == expected


def test_a_target_that_is_no_candidate_is_missed() -> None:
    ranks = metrics.mid_ranks_among(np.array([0.2, 0.9, 0.2]), np.array([4, 7, 9]), np.array([9, 3, 7]))
    assert ranks.tolist() == [1.5, np.inf, 0.0]
    assert metrics.ndcg_at(ranks, 10)[1] == 0
    assert metrics.recall_at(ranks, 10).tolist() == [1, 0, 1]


def test_recall_and_ndcg_by_hand() -> None:
    ranks = np.array([0.0, 1.0, 9.0, 9.5, 10.0])
    assert metrics.recall_at(ranks, 10).tolist() == [1, 1, 1, 1, 0]
    expected = [1.0, 1 / np.log2(3), 1 / np.log2(11), 1 / np.log2(11.5), 0.0]
    assert metrics.ndcg_at(ranks, 10) == pytest.approx(expected)


def test_several_targets_by_hand() -> None:
    ranks, offsets = np.array([0.0, 3.0, 20.0, 5.0]), np.array([0, 3, 3, 4])
    recall = metrics.multi_recall_at(ranks, offsets, 10)
    assert recall[[0, 2]].tolist() == pytest.approx([2 / 3, 1.0])
    ndcg = metrics.multi_ndcg_at(ranks, offsets, 10)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert ndcg[[0, 2]] == pytest.approx([(1 + 1 / np.log2(5)) / ideal, 1 / np.log2(7)])
    assert np.isnan([recall[1], ndcg[1]]).all(), "a viewer without a target says nothing"


def test_more_targets_than_places_can_still_be_perfect() -> None:
    ranks = np.arange(15.0)
    assert metrics.multi_ndcg_at(ranks, np.array([0, 15]), 10) == pytest.approx([1.0])


def test_coverage_and_gini_by_hand() -> None:
    lists = np.array([[0, 1, -1], [0, 2, -1]])
    assert metrics.coverage(lists, 6) == 0.5
    assert metrics.gini(np.array([3, 3, 3])) == pytest.approx(0.0)
    assert metrics.gini(np.array([0, 0, 0, 8])) == pytest.approx(0.75)
    assert metrics.exposure_gini(lists, 3) == pytest.approx(1 / 6)
    assert metrics.gini(np.zeros(4)) == 0.0


def test_gini_against_its_definition() -> None:
    counts = np.random.default_rng(2).integers(0, 50, 40)
    pairs = sum(abs(int(a) - int(b)) for a, b in itertools.product(counts, counts))
    assert metrics.gini(counts) == pytest.approx(pairs / (2 * len(counts) ** 2 * counts.mean()))


def test_diversity_by_category_by_hand() -> None:
    categories = sparse.csr_matrix(np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=bool))
    lists = np.array([[0, 1, -1], [0, 1, 2], [3, 3, -1], [0, 3, -1], [0, -1, -1]])
    diversity = metrics.ild_by_category(lists, categories)
    assert diversity[:2] == pytest.approx([0.5, (0.5 + 1 + 1) / 3])
    assert np.isnan(diversity[2]), "two items without a category are neither alike nor unlike"
    assert diversity[3] == 1.0
    assert np.isnan(diversity[4]), "a list of one has no pair"


def test_diversity_by_vector_against_a_plain_rewrite(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(20, 4))
    vectors[5] = 0
    lists = np.array([rng.permutation(20)[:6] for _ in range(9)])
    lists[4, 3:] = -1
    expected = []
    for row in lists:
        pairs = itertools.combinations([vectors[i] for i in row if i >= 0], 2)
        norms = [(a @ b, np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs]
        expected.append(np.mean([1 - dot / norm if norm else 1.0 for dot, norm in norms]))
    assert metrics.ild_by_vector(lists, vectors) == pytest.approx(expected)
    monkeypatch.setattr(metrics, "_CHUNK", 50)
    assert metrics.ild_by_vector(lists, vectors) == pytest.approx(expected)


def test_bootstrap_interval_of_a_mean_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for case in range(200):
        values = rng.exponential(size=100)
        interval = metrics.bootstrap_mean(values, seed=case, resamples=300)
        assert interval.low <= interval.mean <= interval.high
        held += interval.low <= 1.0 <= interval.high
    assert 0.88 <= held / 200 <= 0.98


def test_bootstrap_is_seeded_and_leaves_out_what_is_not_known() -> None:
    values = np.array([0.0, 1.0, np.nan, 0.5, 0.25])
    once = metrics.bootstrap_mean(values, seed=5)
    assert once == metrics.bootstrap_mean(values, seed=5)
    assert once != metrics.bootstrap_mean(values, seed=6)
    assert once.mean == 0.4375
    assert np.isnan(metrics.bootstrap_mean(np.array([np.nan]), seed=0).mean)


def test_pairing_sees_a_small_difference_that_the_spread_of_viewers_hides() -> None:
    rng = np.random.default_rng(6)
    base = rng.random(400)
    better = base + 0.02 + rng.normal(scale=0.05, size=400)
    a, b = metrics.bootstrap_mean(better, 0), metrics.bootstrap_mean(base, 0)
    assert a.low < b.high, "the two intervals overlap"
    difference = metrics.paired_difference(better, base, seed=0)
    assert 0 < difference.absolute.low < 0.02 < difference.absolute.high
    assert difference.percent.mean == pytest.approx(100 * (better.mean() / base.mean() - 1))
    assert difference.percent.low < difference.percent.mean < difference.percent.high


def test_pairs_must_be_of_the_same_viewers() -> None:
    with pytest.raises(ValueError, match="same viewers"):
        metrics.paired_difference(np.zeros(3), np.zeros(4), seed=0)
    assert np.isnan(metrics.paired_difference(np.zeros(3), np.zeros(3), seed=0).percent.mean)


def test_interval_of_coverage_holds_coverage() -> None:
    lists = np.random.default_rng(7).integers(0, 500, (60, 10))
    interval = metrics.bootstrap_lists(lambda drawn: metrics.coverage(drawn, 500), lists, seed=0)
    assert interval.mean == metrics.coverage(lists, 500)
    assert 0 < interval.low < interval.mean < interval.high < 1
