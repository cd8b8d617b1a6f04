"""Ranks of candidates by each source, beside those of a library."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy.stats import rankdata

from foveate.features.candidate import log_ranks

SCORES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0, 3.0]) | st.floats(-1e6, 1e6, width=32),
)


@given(scores_NS=SCORES)
def test_candidates_that_tie_share_the_middle_of_their_ranks(scores_NS: NDArray[np.float32]) -> None:
    expected_NS = rankdata(-scores_NS, method="average", axis=0) - 1
    np.testing.assert_allclose(log_ranks(scores_NS), np.log1p(expected_NS), rtol=1e-12)


def test_without_candidates_or_sources_there_are_no_ranks() -> None:
    for shape in ((0, 3), (4, 0), (0, 0)):
        assert log_ranks(np.empty(shape, dtype=np.float32)).shape == shape
