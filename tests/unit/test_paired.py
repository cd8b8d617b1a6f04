"""Whether one way to train is better than another, over viewers and training seeds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from foveate.evaluation.paired import paired
from foveate.retrieval.attention import Attention
from foveate_tune.results.verdict import Contender, only_epochs_differ

SEEDS, VIEWERS = 3, 400


def values(mean: float, *, viewer: float, training: float, seed: int) -> np.ndarray:
    """Viewers who differ by ``viewer`` in themselves, and trainings that differ by ``training``."""
    of_viewers = np.random.default_rng(0).normal(0, viewer, VIEWERS)
    rng = np.random.default_rng(seed)
    return mean + of_viewers + rng.normal(0, training, (SEEDS, 1)) + rng.normal(0, 0.02, (SEEDS, VIEWERS))


def test_what_viewers_have_in_common_does_not_hide_a_difference() -> None:
    better = values(0.31, viewer=0.3, training=0.0, seed=1)
    worse = values(0.30, viewer=0.3, training=0.0, seed=2)
    result = paired(better, worse, seed=0)
    assert result.verdict == "better"
    assert paired(worse, better, seed=0).verdict == "worse"
    assert result.difference.absolute.mean == pytest.approx(0.01, abs=0.003)
    assert result.difference.percent.mean == pytest.approx(100 * result.difference.absolute.mean / worse.mean())
    assert result.p <= 0.002
    np.testing.assert_allclose(result.by_seed, better.mean(axis=1) - worse.mean(axis=1))


def test_trainings_that_differ_by_more_than_the_models_leave_it_open() -> None:
    a = values(0.31, viewer=0.1, training=0.03, seed=3)
    b = values(0.30, viewer=0.1, training=0.03, seed=4)
    result = paired(a, b, seed=0)
    assert result.verdict == "not distinguishable"
    viewers_alone = paired(a.mean(axis=0, keepdims=True), b.mean(axis=0, keepdims=True), seed=0)
    wide, narrow = (r.difference.absolute.high - r.difference.absolute.low for r in (result, viewers_alone))
    assert wide > 3 * narrow > 0


def test_the_same_is_not_distinguishable_from_itself() -> None:
    a = values(0.3, viewer=0.1, training=0.01, seed=5)
    result = paired(a, a, seed=0)
    assert result.verdict == "not distinguishable"
    assert result.difference.absolute.mean == 0
    assert result.p > 0.5


def test_one_seed_gives_no_verdict() -> None:
    a, b = (values(mean, viewer=0.1, training=0.0, seed=8)[:1] for mean in (0.5, 0.1))
    result = paired(a, b, seed=0)
    assert result.difference.absolute.low > 0
    assert result.verdict == "no verdict"


def test_a_contender_that_is_another_but_for_its_epochs_is_known() -> None:
    default = Attention()
    longer = dataclasses.replace(default, train=dataclasses.replace(default.train, epochs=99, threads=2))
    wider = dataclasses.replace(default, encoder=dataclasses.replace(default.encoder, width=128))
    winner = Contender("winner", longer, "a trial")
    assert only_epochs_differ(winner, Contender("default", default, "shipped"))
    assert not only_epochs_differ(winner, Contender("wider", wider, "shipped"))


def test_a_resampling_depends_on_its_seed_alone() -> None:
    a, b = (values(0.3, viewer=0.1, training=0.01, seed=seed) for seed in (6, 7))
    assert paired(a, b, seed=1) == paired(a, b, seed=1)
    assert paired(a, b, seed=1) != paired(a, b, seed=2)


@pytest.mark.parametrize("training", [0.0, 0.02, 0.1])
def test_equal_models_are_seldom_called_different(training: float) -> None:
    called = 0
    for number in range(200):
        rng = np.random.default_rng(number)
        viewers = rng.normal(0, 0.3, 200)
        a, b = viewers + rng.normal(0, training, (2, SEEDS, 1)) + rng.normal(0, 0.2, (2, SEEDS, 200))
        called += paired(a, b, seed=number, resamples=200).verdict != "not distinguishable"
    assert called <= 0.08 * 200


def test_values_of_other_viewers_are_refused() -> None:
    with pytest.raises(ValueError, match="the same seeds and viewers"):
        paired(np.zeros((2, 3)), np.zeros((2, 4)), seed=0)
    with pytest.raises(ValueError, match="the same seeds and viewers"):
        paired(np.zeros((0, 3)), np.zeros((0, 3)), seed=0)
