"""Draws are by weight, each on its own, and their chances are the true ones."""

import numpy as np

from foveate.data.world.draws import GroupedDraw, Memory, draw_columns, draw_unseen

DAYS = np.array([[1.0, 3.0, 5.0, 0.0], [0.0, 0.0, 5.0, 2.0]])
GROUPS = np.array([0, 0, 1, 2])


def test_a_group_is_drawn_from_by_the_weights_of_the_day():
    draw = GroupedDraw(DAYS, GROUPS, 3)
    drawn = draw(np.zeros(4000, dtype=np.int64), np.zeros(4000, dtype=np.int64), np.random.default_rng(0))
    share = np.bincount(drawn, minlength=4) / 4000
    np.testing.assert_allclose(share, [0.25, 0.75, 0, 0], atol=0.03)


def test_a_group_without_weight_offers_nothing():
    draw = GroupedDraw(DAYS, GROUPS, 3)
    day, group = np.array([0, 1, 1, 1]), np.array([2, 0, 1, 2])
    assert draw(day, group, np.random.default_rng(0)).tolist() == [-1, -1, 2, 3]


def test_the_draws_of_one_viewer_are_not_all_the_same():
    draw = GroupedDraw(np.ones((1, 50)), np.zeros(50, dtype=np.int64), 1)
    drawn = draw(np.zeros((3, 1), dtype=np.int64), np.zeros((3, 20), dtype=np.int64), np.random.default_rng(0))
    assert drawn.shape == (3, 20)
    assert all(len(set(row)) > 5 for row in drawn.tolist())


def test_columns_are_drawn_by_the_weights_of_their_row():
    weights = np.array([[1, 0, 3], [0, 1, 0]], dtype=np.float32)
    drawn = draw_columns(weights, 4000, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn[0], minlength=3) / 4000, [0.25, 0, 0.75], atol=0.03)
    assert (drawn[1] == 1).all()


def test_the_unseen_are_drawn_evenly_with_their_chance():
    viewers = 6000
    memory = Memory.blank(viewers, 8)
    rows = np.arange(viewers)
    memory.watch(rows, np.full(viewers, 3))
    by_availability = np.array([3, 1, 5, 7, 2, 0, 4, 6])
    items, propensity = draw_unseen(
        memory,
        rows,
        by_availability,
        n_available=np.full(viewers, 5),
        prefix=np.tile([7, -1], (viewers, 1)),
        rng=np.random.default_rng(0),
    )
    np.testing.assert_allclose(
        np.bincount(items, minlength=8) / viewers, np.isin(np.arange(8), [1, 2, 5]) / 3, atol=0.03
    )
    np.testing.assert_allclose(propensity, 1 / 3)


def test_the_last_one_left_is_found_and_then_there_is_none():
    memory = Memory.blank(1, 400)
    row = np.array([0])
    memory.watch(np.zeros(399, dtype=np.int64), np.arange(399))
    for prefix, found, chance in (([[-1]], 399, 1.0), ([[399]], -1, np.nan)):
        items, propensity = draw_unseen(
            memory,
            row,
            np.arange(400),
            n_available=np.array([400]),
            prefix=np.array(prefix),
            rng=np.random.default_rng(0),
        )
        assert items.tolist() == [found]
        np.testing.assert_equal(propensity, [chance])
