"""Alternating least squares against the implicit package's own answers, and what it says of strangers."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.data.events import Histories
from foveate.retrieval.als import Als, Factors
from foveate.retrieval.base import SourceConfig


def test_a_viewer_is_solved_for_as_the_package_does(checkerboard: Any) -> None:
    config = Als(factors=4, alpha=7.0, regularisation=0.3)
    source = config.fit(checkerboard.context())
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(factors=4, alpha=1.0, regularization=0.3, num_threads=1)
    model.item_factors = source.arrays()["items"]
    for items in ([0, 2, 4], [1], [5, 5, 7, 0]):
        distinct = np.unique(items)
        row = sparse.csr_matrix((np.full(len(distinct), 8.0), distinct, [0, len(distinct)]), shape=(1, 12))
        expected = model.recalculate_user(0, row) @ model.item_factors.T
        query = checkerboard.query_of(np.array(items, dtype=np.int32))
        np.testing.assert_allclose(source.scores([query])[0], expected, atol=1e-4)


def test_one_factor_worked_by_hand(checkerboard: Any) -> None:
    # Items of length 1 and 2: gram 5, plus regularisation 1, plus alpha 3 x 2^2 for the one that was seen.
    source = Factors("als", np.array([[1.0], [2.0]], dtype=np.float32), alpha=3.0, regularisation=1.0)
    query = checkerboard.query_of(np.array([1], dtype=np.int32))
    viewer = (1 + 3) * 2 / (5 + 1 + 3 * 4)
    np.testing.assert_allclose(source.scores([query]), [[viewer, 2 * viewer]], rtol=1e-6)


def test_an_item_that_nobody_watched_scores_nothing(checkerboard: Any) -> None:
    log = _walks([[0, 1, 2], [1, 2, 3]])
    source = Als(factors=1).fit(dataclasses.replace(checkerboard.context(), histories=log))
    scores = source.scores([checkerboard.query_of(np.array([0, 1], dtype=np.int32))])[0]
    np.testing.assert_allclose(scores[4:], 0, atol=1e-6)
    assert (scores[:4] > 0.1).all()


def test_an_empty_log_gives_finite_scores(checkerboard: Any) -> None:
    source = Als(factors=4).fit(dataclasses.replace(checkerboard.context(), histories=_walks([[], []])))
    scores = source.scores([checkerboard.query_of(np.array([3], dtype=np.int32))])
    np.testing.assert_array_equal(scores, np.zeros((1, 12), dtype=np.float32))


def test_the_seed_decides_and_the_threads_do_not(checkerboard: Any) -> None:
    query = [checkerboard.query(0)]
    first = Als(factors=4).fit(checkerboard.context(seed=1)).scores(query)
    np.testing.assert_allclose(
        Als(factors=4, threads=2).fit(checkerboard.context(seed=1)).scores(query), first, atol=1e-5
    )
    assert not np.array_equal(Als(factors=4).fit(checkerboard.context(seed=2)).scores(query), first)


@pytest.mark.parametrize("settings", [{"factors": 0}, {"regularisation": 0}, {"alpha": -1}, {"threads": -1}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        from_dict(SourceConfig, {"name": "als", **settings})


def test_serving_needs_the_numbers_alone() -> None:
    code = "import sys, foveate.retrieval.als; assert 'implicit' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def _walks(rows: list[list[int]]) -> Histories:
    items = np.array([item for row in rows for item in row], dtype=np.int32)
    offsets = np.cumsum([0, *map(len, rows)])
    return Histories(offsets, items, np.zeros(len(items), dtype=np.int64), np.ones(len(items), dtype=np.float32), 12)
