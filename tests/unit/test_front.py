"""What cannot be had together, on fronts small enough to see."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foveate_tune.results.pareto import knee, non_dominated

BOWED = [[0.0, 10.0], [6.0, 9.0], [10.0, 0.0]]
"""Two ends and a point far above the line between them."""


@pytest.mark.parametrize(
    ("gains", "front"),
    [
        (BOWED, [True, True, True]),
        ([*BOWED, [5.0, 9.0]], [True, True, True, False]),  # as good in one, worse in the other
        ([[1.0, 1.0], [1.0, 1.0], [0.0, 2.0]], [True, True, True]),  # equals stand side by side
        ([[3.0], [5.0], [5.0], [4.0]], [False, True, True, False]),  # one objective: the best alone
        ([[math.nan, 9.0], [1.0, 1.0]], [False, True]),  # what is not known is not on the front and dominates nobody
        ([[math.inf, 9.0], [-math.inf, 0.0], [1.0, 1.0]], [False, False, True]),
        ([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 2.0, 2.9]], [True, True, False]),
    ],
)
def test_the_front_holds_what_nothing_dominates(gains: list[list[float]], front: list[bool]) -> None:
    assert non_dominated(np.array(gains)).tolist() == front


@pytest.mark.parametrize(
    ("gains", "at"),
    [
        (BOWED, 1),
        # Dominated trials neither count nor stretch the range.
        ([*BOWED, [5.0, -1000.0]], 1),
        # Nothing is above the line between the ends: the first objective decides.
        ([[0.0, 10.0], [5.0, 5.0], [10.0, 0.0]], 2),
        # Two as far above it: again.
        ([[0.0, 10.0], [4.0, 9.0], [9.0, 4.0], [10.0, 0.0]], 2),
        ([[7.0, 7.0]], 0),
        ([[7.0, 7.0], [7.0, 7.0]], 0),
        ([[math.nan, 1.0], [math.nan, 2.0]], None),
        # The third objective is the same all over the front, and one trial is best in both others.
        ([[1.0, 1.0, 5.0], [0.5, 0.5, 5.0]], 0),
    ],
)
def test_the_knee_lies_farthest_above_the_plane_through_the_ends(gains: list[list[float]], at: int | None) -> None:
    assert knee(np.array(gains)) == at


def test_the_knee_does_not_depend_on_units() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        gains_TK = rng.normal(size=(12, 3))
        assert knee(gains_TK) == knee(gains_TK * [0.001, 1.0, 5000.0] + [3.0, -7.0, 100.0])


def test_the_knee_of_a_circle_is_where_both_objectives_cost_the_same() -> None:
    angles = np.linspace(0, np.pi / 2, 91)
    assert knee(np.stack([np.cos(angles), np.sin(angles)], axis=1)) == 45
