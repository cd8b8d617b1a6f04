"""What every slate policy keeps, whichever it is: a new file in the folder is tested unasked."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from foveate.slate.base import Constraints, SlateInput, SlatePolicy
from foveate.slate.constraints import broken_caps

POLICIES = [cls() for _, cls in SlatePolicy.variants.items()]
by_name = pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.name)


def ranked(rng: np.random.Generator, n: int, channels: int, categories: int, *, spoilt: float = 0.0) -> SlateInput:
    relevance = rng.normal(size=n).astype(np.float32).round(1)
    relevance[rng.random(n) < spoilt] = rng.choice([np.nan, np.inf, -np.inf])
    vectors = rng.normal(size=(n, 8)).astype(np.float32)
    return SlateInput(
        relevance=relevance,
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        channel=rng.integers(-1, channels, n).astype(np.int32),
        category=rng.integers(-1, categories, n).astype(np.int32),
        codes=rng.permutation(10 * n)[:n].astype(np.int32),
    )


def largest_slate(pool: SlateInput, size: int, caps: Constraints) -> int:
    """By trying every subset: the one right answer."""
    for k in range(min(size, len(pool.codes)), 0, -1):
        for subset in itertools.combinations(range(len(pool.codes)), k):
            rows = list(subset)
            if not broken_caps(pool.channel[rows], pool.category[rows], caps):
                return k
    return 0


@by_name
def test_a_slate_is_part_of_its_input_and_keeps_the_caps(policy: SlatePolicy) -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        pool = ranked(rng, int(rng.integers(0, 60)), 6, 4, spoilt=0.1)
        caps = Constraints(int(rng.integers(1, 4)), int(rng.integers(1, 6)))
        size = int(rng.integers(0, 15))
        answer = policy.select(pool, size, caps, seed=3)
        assert len(answer.chosen) <= size
        assert len(set(answer.chosen.tolist())) == len(answer.chosen)
        assert set(answer.chosen.tolist()) <= set(range(len(pool.codes)))
        assert not broken_caps(pool.channel[answer.chosen], pool.category[answer.chosen], caps)
        assert not set(answer.displaced.tolist()) & set(answer.chosen.tolist())


@by_name
def test_a_slate_is_full_whenever_the_caps_allow_it(policy: SlatePolicy) -> None:
    """500 random cases against brute force, many of them with caps that a careless greedy choice gets stuck under."""
    rng = np.random.default_rng(2)
    short = 0
    for _ in range(500):
        pool = ranked(rng, int(rng.integers(1, 10)), 3, 3)
        caps = Constraints(int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        size = int(rng.integers(1, 7))
        best = largest_slate(pool, size, caps)
        short += best < size
        assert len(policy.select(pool, size, caps, seed=0).chosen) == best
    assert 100 < short < 400, "the cases should hold both full and short slates"


@by_name
def test_two_caps_that_block_a_greedy_choice(policy: SlatePolicy) -> None:
    """The best item sits where both others meet: taking it leaves one place, leaving it fills two."""
    pool = SlateInput(
        relevance=np.array([3.0, 2.0, 1.0], dtype=np.float32),
        vectors=np.zeros((3, 2), dtype=np.float32),
        channel=np.array([0, 0, 1], dtype=np.int32),
        category=np.array([0, 1, 0], dtype=np.int32),
        codes=np.arange(3, dtype=np.int32),
    )
    assert policy.select(pool, 2, Constraints(1, 1), seed=0).chosen.tolist() == [1, 2]


@by_name
def test_scores_that_are_not_finite_come_last(policy: SlatePolicy) -> None:
    rng = np.random.default_rng(4)
    for _ in range(100):
        pool = ranked(rng, 12, 4, 4, spoilt=0.4)
        finite = np.isfinite(pool.relevance[policy.select(pool, 12, Constraints(None, None), seed=0).chosen])
        assert finite.tolist() == sorted(finite.tolist(), reverse=True)
        capped = np.isfinite(pool.relevance[policy.select(pool, 6, Constraints(2, 2), seed=0).chosen])
        assert capped.tolist() == sorted(capped.tolist(), reverse=True)


@by_name
def test_the_same_seed_gives_the_same_slate_in_any_order_of_input(policy: SlatePolicy) -> None:
    rng = np.random.default_rng(5)
    pool = ranked(rng, 80, 9, 5)
    caps = Constraints(2, 4)
    once = pool.codes[policy.select(pool, 10, caps, seed=7).chosen]
    assert pool.codes[policy.select(pool, 10, caps, seed=7).chosen].tolist() == once.tolist()
    mixed = rng.permutation(80)
    other = SlateInput(
        pool.relevance[mixed], pool.vectors[mixed], pool.channel[mixed], pool.category[mixed], pool.codes[mixed]
    )
    assert other.codes[policy.select(other, 10, caps, seed=7).chosen].tolist() == once.tolist()


@by_name
def test_ties_are_broken_by_item_code(policy: SlatePolicy) -> None:
    codes = np.array([5, 3, 9, 1, 7], dtype=np.int32)
    unknown = np.full(5, -1, dtype=np.int32)
    pool = SlateInput(np.ones(5, dtype=np.float32), np.zeros((5, 2), dtype=np.float32), unknown, unknown.copy(), codes)
    chosen = policy.select(pool, 3, Constraints(1, 1), seed=0).chosen
    assert codes[chosen].tolist() == [1, 3, 5], "an unknown channel or category is capped by no cap"


@by_name
def test_what_was_displaced_and_what_it_cost(policy: SlatePolicy) -> None:
    rng = np.random.default_rng(6)
    pool = ranked(rng, 50, 3, 2)
    answer = policy.select(pool, 8, Constraints(2, 3), seed=0)
    top = set(np.lexsort((pool.codes, -pool.relevance))[:8].tolist())
    assert set(answer.displaced.tolist()) == top - set(answer.chosen.tolist())
    paid = pool.relevance[list(top)].mean() - pool.relevance[answer.chosen].mean()
    assert answer.relevance_paid == pytest.approx(paid, abs=1e-6)


@by_name
def test_a_crowded_pool_is_filled_without_a_search_that_grows_without_bound(policy: SlatePolicy) -> None:
    """1,000 candidates under caps that meet exactly: trying subsets would never end."""
    pool = ranked(np.random.default_rng(8), 1000, 40, 3)
    channel, category = np.maximum(pool.channel, 0), np.maximum(pool.category, 0)
    known = SlateInput(pool.relevance, pool.vectors, channel, category, pool.codes)
    assert len(policy.select(known, 50, Constraints(1, 13), seed=0).chosen) == 39
