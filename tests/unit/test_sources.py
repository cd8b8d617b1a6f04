"""Sources against values worked by hand and plain rewrites of their formulas."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from foveate.core.errors import TrainingError
from foveate.core.messages import NO_TIME
from foveate.data.events import Histories
from foveate.data.fitting import FitContext
from foveate.retrieval.base import CandidateSource, top_k
from foveate.retrieval.covisitation import Covisitation
from foveate.retrieval.ease import Ease
from foveate.retrieval.item_knn import ItemKnn
from foveate.retrieval.popularity import DAY, Popularity
from foveate.retrieval.recent_popularity import RecentPopularity
from foveate.retrieval.sparse import keep_strongest
from foveate.retrieval.transition_walk import TransitionWalk

NOW = 100 * DAY


def histories(rows: list[list[int]], n_items: int, days: list[float] | None = None) -> Histories:
    items = np.array([item for row in rows for item in row], dtype=np.int32)
    times = np.full(len(items), NO_TIME) if days is None else np.array([int(day * DAY) for day in days])
    offsets = np.cumsum([0, *map(len, rows)])
    return Histories(offsets, items, times, np.ones(len(items), dtype=np.float32), n_items)


def scores(source: CandidateSource, checkerboard: Any, *items: int) -> NDArray[np.float32]:
    return source.scores([checkerboard.query_of(np.array(items, dtype=np.int32))])[0]


@pytest.fixture
def board(checkerboard: Any) -> Any:
    """A catalogue of 12 items; the histories are each test's own."""
    return checkerboard


def context(board: Any, rows: list[list[int]], days: list[float] | None = None) -> FitContext:
    return FitContext(histories(rows, len(board.catalog), days), board.catalog, NO_TIME if days is None else NOW)


def test_covisitation_counts_followers_by_distance(board: Any) -> None:
    source = Covisitation(window=2).fit(context(board, [[0, 1, 2, 3], [0, 2]]))
    np.testing.assert_allclose(scores(source, board, 0)[:4], [0, 1, 0.5 + 1, 0])
    np.testing.assert_allclose(scores(source, board, 3)[:4], [0, 0, 0, 0])
    # The newest event weighs 1, the one before it 0.7.
    np.testing.assert_allclose(scores(source, board, 0, 1)[:4], [0, 0.7, 0.7 * 1.5 + 1, 0.5], rtol=1e-6)


def test_covisitation_does_not_reach_over_viewers(board: Any) -> None:
    source = Covisitation().fit(context(board, [[0], [1], [2, 3]]))
    assert scores(source, board, 0, 1).sum() == 0


def test_covisitation_in_both_directions_is_symmetric(board: Any) -> None:
    source = Covisitation(directional=False).fit(context(board, [[0, 1, 2]]))
    assert scores(source, board, 2)[1] == scores(source, board, 1)[2] == 1


def test_covisitation_can_damp_popularity(board: Any) -> None:
    source = Covisitation(popularity_power=0.5).fit(context(board, [[0, 1], [0, 2], [2], [2], [2]]))
    np.testing.assert_allclose(scores(source, board, 0)[1:3], [1, 0.5])


def test_a_walk_adds_up_the_chances_of_one_step_and_of_two(board: Any) -> None:
    walk = TransitionWalk(hop_decay=0.5, similarity=0.0)
    source = walk.fit(context(board, [[0, 1, 2], [0, 2, 3]]))
    np.testing.assert_allclose(scores(source, board, 0)[:4], [0, 0.5, 0.5 + 0.25, 0.25])
    # The newest item weighs 1, the one before it 0.5, and none before those.
    np.testing.assert_allclose(scores(source, board, 3, 0, 1)[:4], [0, 0.25, 1 + 0.375, 0.5 + 0.125])


def test_a_walk_prefers_what_is_alike(board: Any) -> None:
    rows = [[0, 1], [0, 2], [0, 3], [0, 4]]
    plain = scores(TransitionWalk(similarity=0.0).fit(context(board, rows)), board, 0)
    alike = scores(TransitionWalk(similarity=2.0).fit(context(board, rows)), board, 0)
    marks = sparse.hstack([board.catalog.categories, board.catalog.tags]).toarray().astype(float)
    norms = np.sqrt(np.maximum((marks**2).sum(axis=1), 1.0))
    np.testing.assert_allclose(alike, plain * (1 + 2 * (marks @ marks[0]) / (norms * norms[0])), rtol=1e-6)


def test_ease_is_the_closed_form(board: Any) -> None:
    fit = board.context()
    users = np.repeat(np.arange(fit.histories.n_users), np.diff(fit.histories.offsets))
    seen = np.zeros((fit.histories.n_users, 12))
    seen[users, fit.histories.items] = 1
    inverse = np.linalg.inv(seen.T @ seen + 20 * np.eye(12))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    source = Ease(regularisation=20).fit(fit)
    np.testing.assert_allclose(scores(source, board, 0, 2, 2), weights[0] + weights[2], atol=1e-5)


def test_ease_refuses_a_catalogue_that_is_too_large(board: Any) -> None:
    with pytest.raises(TrainingError, match="12 items need 0 GiB, more than max_items"):
        Ease(max_items=11).fit(board.context())


def test_item_knn_is_a_shrunk_cosine(board: Any) -> None:
    source = ItemKnn(shrink=1).fit(context(board, [[0, 1], [0, 1], [0, 2, 2]]))
    np.testing.assert_allclose(scores(source, board, 0)[:3], [0, 2 / (6**0.5 + 1), 1 / (3**0.5 + 1)], rtol=1e-6)


def test_popularity_counts_and_fades(board: Any) -> None:
    rows, days = [[0, 0, 1], [1, 2]], [80.0, 80, 100, 90, NO_TIME / DAY]
    plain, fading = Popularity(), Popularity(half_life_days=10)
    np.testing.assert_allclose(scores(plain.fit(context(board, rows, days)), board)[:4], [2, 2, 1, 0])
    np.testing.assert_allclose(scores(fading.fit(context(board, rows, days)), board)[:3], [0.5, 1.5, 0], atol=1e-6)
    # Without a clock nothing fades.
    np.testing.assert_allclose(scores(fading.fit(context(board, rows)), board)[:3], [2, 2, 1])


def test_recent_popularity_looks_at_the_last_days_and_breaks_ties_by_all(board: Any) -> None:
    rows, days = [[0, 0, 1, 2], [1, 3, 3, 3]], [50.0, 50, 99, 99, 50, 10, 10, 10]
    source = RecentPopularity(days=7).fit(context(board, rows, days))
    assert source.retrieve([board.query_of(np.empty(0, dtype=np.int32))], 4)[0].tolist() == [1, 2, 3, 0]
    undated = RecentPopularity().fit(context(board, rows))
    assert undated.retrieve([board.query_of(np.empty(0, dtype=np.int32))], 4)[0].tolist() == [3, 0, 1, 2]


def test_only_the_strongest_neighbours_stay_ties_by_column() -> None:
    dense = np.array([[1, 3, 2, 3], [0, 0, 0, 0], [5, 5, 5, 0]], dtype=np.float32)
    kept = keep_strongest(sparse.csr_matrix(dense), 2).toarray()
    np.testing.assert_array_equal(kept, [[0, 3, 0, 3], [0, 0, 0, 0], [5, 5, 0, 0]])
    np.testing.assert_array_equal(keep_strongest(sparse.csr_matrix(dense), 0).toarray(), dense)


def test_top_k_leaves_out_the_excluded_before_the_top_is_taken() -> None:
    row = np.array([5, 1, 5, 4, 5], dtype=np.float32)
    assert top_k(row, np.array([0], dtype=np.int32), 2).tolist() == [2, 4]
    assert top_k(row, np.arange(4, dtype=np.int32), 3).tolist() == [4]
    assert top_k(row, np.arange(5, dtype=np.int32), 3).tolist() == []


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (Covisitation(), {"decay": 0.0}),
        (Covisitation(), {"window": 0}),
        (Ease(), {"regularisation": 0.0}),
        (ItemKnn(), {"shrink": -1.0}),
        (Popularity(), {"half_life_days": -1.0}),
        (RecentPopularity(), {"days": 0.0}),
    ],
)
def test_impossible_settings_are_refused(config: Any, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        dataclasses.replace(config, **settings)
