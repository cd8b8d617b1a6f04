"""Estimates by inverse propensities: by hand, on what must fail, and against the truth of the simulated world."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from foveate.core.errors import DataError
from foveate.evaluation.off_policy import ips, place_weights, self_normalised


def test_weights_by_hand() -> None:
    served = np.array([[0.5, np.nan, 0.2], [0.25, np.nan, 0.5]])
    other = np.array([[1.0, 1.0, 0.1], [0.5, 0.0, 0.0]])
    np.testing.assert_allclose(place_weights(served, other), [[2.0, 2.0, 1.0], [2.0, 0.0, 0.0]])


def test_estimates_by_hand() -> None:
    """Two slates of two places: weights 2, 2 and 0.5, 0; rewards at all but the last place."""
    weights, rewards = np.array([[2.0, 2.0], [0.5, 0.0]]), np.array([[1.0, 1.0], [1.0, 0.0]])
    plain, own = ips(rewards, weights), self_normalised(rewards, weights)
    assert plain.value == pytest.approx((4.0 + 0.5) / 2)
    assert own.value == pytest.approx(1.0 + 1.0), "a constant reward of a place is what it is"
    assert plain.effective == own.effective == pytest.approx(1.0)
    # The sums of the slates are 4 and 0.5: their standard error is 3.5 / 2.
    assert plain.high - plain.value == pytest.approx(1.959964 * 3.5 / 2, rel=1e-6)
    assert own.high == pytest.approx(own.low)


def test_a_policy_is_estimated_exactly_by_its_own_log() -> None:
    rng = np.random.default_rng(0)
    served, rewards = rng.random((50, 3)), rng.random((50, 3))
    weights = place_weights(served, served)
    for found in (ips(rewards, weights), self_normalised(rewards, weights)):
        assert found.value == pytest.approx(rewards.sum(axis=1).mean())
        assert found.effective == pytest.approx(50)


def test_where_the_other_policy_shows_nothing_of_the_log_nothing_is_left() -> None:
    weights = place_weights(np.full((4, 2), 0.5), np.zeros((4, 2)))
    for found in (ips(np.ones((4, 2)), weights), self_normalised(np.ones((4, 2)), weights)):
        assert (found.value, found.effective) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("served", "other"), [([[0.0]], [[1.0]]), ([[1.5]], [[1.0]]), ([[0.5]], [[1.2]]), ([[0.5]], [[0.5, 0.5]])]
)
def test_what_is_no_probability_is_refused(served: Any, other: Any) -> None:
    with pytest.raises(DataError):
        place_weights(np.array(served), np.array(other))


def test_one_slate_is_not_enough() -> None:
    with pytest.raises(DataError, match="two slates"):
        ips(np.ones((1, 2)), np.ones((1, 2)))


def test_intervals_hold_the_true_reward_of_another_policy() -> None:
    """100 runs in the simulated world: nine in ten of the 95 % intervals hold it, and they are narrow."""
    bench: Any = importlib.import_module("off_policy")
    world = bench.make_world()
    truth, own = world.truth(world.other), world.truth(world.served)
    assert truth > 1.05 * own, "the other policy should be another one"
    runs = [bench.estimates(world, 1000, seed) for seed in range(100)]
    for found in zip(*runs, strict=True):
        coverage = bench.coverage(list(found), truth)
        assert coverage.held >= 90
        assert coverage.half_width <= 0.2
        assert 100 < coverage.effective < 1000
