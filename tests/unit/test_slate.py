"""The slate's own arithmetic: MMR's trade, foresight under two caps, and settings that make no sense."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from foveate.config import from_dict
from foveate.errors import ConfigError
from foveate.slate.base import Constraints, SlateInput, SlatePolicy
from foveate.slate.constraints import broken_caps, uncapped
from foveate.slate.mmr import MMR
from foveate.slate.relevance import Relevance

FREE = Constraints(None, None)


def pool_of(relevance: list[float], vectors: list[list[float]]) -> SlateInput:
    n = len(relevance)
    unknown = np.full(n, -1, dtype=np.int32)
    return SlateInput(
        relevance=np.array(relevance, dtype=np.float32),
        vectors=np.array(vectors, dtype=np.float32),
        channel=unknown,
        category=unknown.copy(),
        codes=np.arange(n, dtype=np.int32),
    )


def test_mmr_by_hand() -> None:
    """Relevance 1, 0.9, 0.5 of two likes and one other: strength decides which comes second."""
    pool = pool_of([2.0, 1.8, 1.0, 0.0], [[1, 0], [1, 0], [0, 1], [0, -1]])
    # Second pick at strength 0.2: 0.8 * 0.9 - 0.2 * 1 = 0.52 against 0.8 * 0.5 - 0 = 0.40.
    assert MMR(strength=0.2).select(pool, 3, FREE, seed=0).chosen.tolist() == [0, 1, 2]
    # At strength 0.4: 0.6 * 0.9 - 0.4 * 1 = 0.14 against 0.6 * 0.5 - 0 = 0.30.
    assert MMR(strength=0.4).select(pool, 3, FREE, seed=0).chosen.tolist() == [0, 2, 1]


def test_mmr_without_strength_is_relevance() -> None:
    rng = np.random.default_rng(0)
    pool = pool_of(rng.normal(size=40).tolist(), rng.normal(size=(40, 2)).tolist())
    plain = Relevance().select(pool, 10, FREE, seed=0)
    assert MMR(strength=0.0).select(pool, 10, FREE, seed=0).chosen.tolist() == plain.chosen.tolist()
    assert plain.relevance_paid == 0.0
    assert not len(plain.displaced)


def test_mmr_grows_more_varied_with_strength() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(200, 8))
    pool = pool_of(rng.normal(size=200).tolist(), (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).tolist())

    def likeness(strength: float) -> float:
        chosen = MMR(strength=strength).select(pool, 10, FREE, seed=0).chosen
        cosines = pool.vectors[chosen] @ pool.vectors[chosen].T - 2 * np.eye(10)
        return float(cosines.max(axis=1).mean())

    assert likeness(0.0) > likeness(0.3) > likeness(0.8)


def test_every_pick_is_the_best_that_still_leaves_a_full_slate() -> None:
    rng = np.random.default_rng(2)
    for _ in range(150):
        n = int(rng.integers(3, 9))
        pool = SlateInput(
            relevance=rng.permutation(n).astype(np.float32),
            vectors=np.zeros((n, 1), dtype=np.float32),
            channel=rng.integers(-1, 3, n).astype(np.int32),
            category=rng.integers(-1, 3, n).astype(np.int32),
            codes=np.arange(n, dtype=np.int32),
        )
        caps, size = Constraints(int(rng.integers(1, 3)), 1), int(rng.integers(1, 5))
        sets = [set(s) for k in range(size + 1) for s in itertools.combinations(range(n), k)]
        kept = [s for s in sets if not broken_caps(pool.channel[list(s)], pool.category[list(s)], caps)]
        full = [s for s in kept if len(s) == max(map(len, kept))]
        expected: list[int] = []
        while len(expected) < len(full[0]):
            open_now = {p for s in full if set(expected) <= s for p in s} - set(expected)
            expected.append(max(open_now, key=lambda p: pool.relevance[p]))
        assert Relevance().select(pool, size, caps, seed=0).chosen.tolist() == expected


def test_broken_caps_are_named() -> None:
    channel, category = np.array([1, 1, 1, -1, -1]), np.array([0, 1, 2, -1, -1])
    assert broken_caps(channel, category, Constraints(2, 1)) == ("max_per_channel",)
    assert broken_caps(channel, category, Constraints(3, 1)) == ()
    assert broken_caps(channel, category, uncapped(Constraints(1, 1))) == ()


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (Constraints, {"max_per_channel": 0}, "max_per_channel must be at least 1"),
        (SlatePolicy, {"name": "mmr", "strength": 1.5}, "strength must lie between 0 and 1"),
        (SlatePolicy, "mrr", "Did you mean 'mmr'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: type, data: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(kind, data)
