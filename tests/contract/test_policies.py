"""What every slate policy keeps, whichever it is: a new file in the folder is tested unasked."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costs import LINEAR, PythonCost, grown, python_cost
from foveate.core.config import from_dict
from foveate.slate.base import SlatePolicy
from foveate.slate.constraints import UNCONSTRAINED, Constraints, broken
from foveate.slate.inputs import SlateInput
from foveate.slate.relevance import Relevance
from foveate.slate.rules.at_most import AtMost
from foveate.slate.rules.base import Rule
from foveate.slate.rules.fresh import Fresh
from foveate.slate.rules.from_category import FromCategory
from foveate.slate.rules.small_channel import SmallChannel

POLICIES = [cls() for _, cls in SlatePolicy.variants.items()]
by_name = pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.name)
WITH_STRENGTH = [
    cls for _, cls in SlatePolicy.variants.items() if "strength" in {f.name for f in dataclasses.fields(cls)}
]


def random_rules(rng: np.random.Generator) -> tuple[Rule, ...]:
    """Any of them, hard or soft, in any order."""
    most = [int(m) for m in rng.integers(1, 4, 3)]
    widths = [m + int(w) if w else None for m, w in zip(most, rng.integers(0, 4, 3), strict=True)]
    kinds = ("channel", "category", "tag")
    caps = [AtMost(of=of, most=m, window=w) for of, m, w in zip(kinds, most, widths, strict=True)]
    floors = [Fresh(least=int(rng.integers(1, 4))), SmallChannel(quantile=0.3), FromCategory(category="category 1")]
    picked = [rule for rule in (*caps, *floors) if rng.random() < 0.6]
    return tuple(dataclasses.replace(picked[i], soft=bool(rng.random() < 0.4)) for i in rng.permutation(len(picked)))


def largest_slate(pool: SlateInput, size: int, caps: Constraints) -> int:
    """By trying every subset: the one right answer."""
    for k in range(min(size, len(pool)), 0, -1):
        for subset in itertools.combinations(range(len(pool)), k):
            if not broken(pool, np.array(subset), caps.hard, size):
                return k
    return 0


@by_name
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_a_slate_is_part_of_its_input_and_keeps_what_is_hard(policy: SlatePolicy, pools: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = pools.random(rng, int(rng.integers(0, 30)), 6, 4, tags=5, spoilt=0.1)
    rules, size = (
        Constraints(int(rng.integers(1, 4)), int(rng.integers(1, 6)), random_rules(rng)),
        int(rng.integers(0, 9)),
    )
    answer = policy.select(pool, size, rules, seed=3)
    chosen = answer.chosen.tolist()
    assert len(chosen) <= size
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(range(len(pool)))
    assert not broken(pool, answer.chosen, rules.hard, size)
    kept = [rule for rule in rules.soft if rule.label not in answer.relaxed]
    assert not broken(pool, answer.chosen, kept, len(chosen))
    assert not set(answer.displaced.tolist()) & set(chosen)


@by_name
def test_a_slate_is_full_whenever_the_caps_allow_it(policy: SlatePolicy, pools: Any) -> None:
    """500 random cases against brute force, many of them with caps that a careless greedy choice gets stuck under."""
    rng = np.random.default_rng(2)
    short = 0
    for _ in range(500):
        pool = pools.random(rng, int(rng.integers(1, 10)), 3, 3)
        caps = Constraints(int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        size = int(rng.integers(1, 7))
        best = largest_slate(pool, size, caps)
        short += best < size
        assert len(policy.select(pool, size, caps, seed=0).chosen) == best
    assert 100 < short < 400, "the cases should hold both full and short slates"


@by_name
def test_two_caps_that_block_a_greedy_choice(policy: SlatePolicy, pools: Any) -> None:
    """The best item sits where both others meet: taking it leaves one place, leaving it fills two."""
    pool = pools.of([3.0, 2.0, 1.0], channel=[0, 0, 1], category=[0, 1, 0])
    assert policy.select(pool, 2, Constraints(1, 1), seed=0).chosen.tolist() == [1, 2]


@by_name
def test_scores_that_are_not_finite_come_last(policy: SlatePolicy, pools: Any) -> None:
    rng = np.random.default_rng(4)
    for _ in range(100):
        pool = pools.random(rng, 12, 4, 4, spoilt=0.4)
        for size, caps in ((12, UNCONSTRAINED), (6, Constraints(2, 2))):
            finite = np.isfinite(pool.relevance[policy.select(pool, size, caps, seed=0).chosen])
            assert finite.tolist() == sorted(finite.tolist(), reverse=True)


@by_name
def test_the_same_seed_gives_the_same_slate_in_any_order_of_input(policy: SlatePolicy, pools: Any) -> None:
    rng = np.random.default_rng(5)
    for _ in range(30):
        pool = pools.random(rng, 40, 9, 5, tags=4)
        rules = Constraints(2, 4, random_rules(rng))
        once = pool.codes[policy.select(pool, 10, rules, seed=7).chosen]
        assert pool.codes[policy.select(pool, 10, rules, seed=7).chosen].tolist() == once.tolist()
        other = pool.take(rng.permutation(40))
        assert other.codes[policy.select(other, 10, rules, seed=7).chosen].tolist() == once.tolist()


@by_name
def test_ties_are_broken_by_item_code(policy: SlatePolicy, pools: Any) -> None:
    pool = pools.of(np.ones(5), codes=[5, 3, 9, 1, 7])
    chosen = policy.select(pool, 3, Constraints(1, 1), seed=0).chosen
    assert pool.codes[chosen].tolist() == [1, 3, 5], "an unknown channel or category is capped by no cap"


@by_name
@pytest.mark.parametrize("n", [0, 1, 4])
def test_few_candidates_are_all_shown(policy: SlatePolicy, pools: Any, n: int) -> None:
    pool = pools.random(np.random.default_rng(n), n, 3, 3)
    for rules in (UNCONSTRAINED, Constraints(None, None, (Fresh(least=2, soft=True),))):
        assert sorted(policy.select(pool, 10, rules, seed=0).chosen.tolist()) == list(range(n))
        assert len(policy.select(pool, 0, rules, seed=0).chosen) == 0


@pytest.mark.parametrize("cls", WITH_STRENGTH, ids=lambda cls: cls.name)
def test_without_strength_a_policy_is_relevance(cls: type[SlatePolicy], pools: Any) -> None:
    policy = from_dict(SlatePolicy, {"name": cls.name, "strength": 0.0})
    rng = np.random.default_rng(9)
    for _ in range(100):
        pool = pools.random(rng, int(rng.integers(1, 40)), 6, 4, tags=5, spoilt=0.05)
        rules = Constraints(int(rng.integers(1, 4)), int(rng.integers(1, 6)), random_rules(rng))
        ours, plain = (one.select(pool, 8, rules, seed=1) for one in (policy, Relevance()))
        assert ours.chosen.tolist() == plain.chosen.tolist()
        assert ours.relaxed == plain.relaxed
    # The whole range of float32 between two scores must not hide that they differ.
    pool = pools.of([1e30, 2.0, 3.0, -1e30])
    assert policy.select(pool, 4, UNCONSTRAINED, seed=0).chosen.tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize("cls", WITH_STRENGTH, ids=lambda cls: cls.name)
def test_strength_makes_a_policy_something_else_than_relevance(cls: type[SlatePolicy], pools: Any) -> None:
    rng = np.random.default_rng(10)
    policy = from_dict(SlatePolicy, {"name": cls.name, "strength": 0.6})
    moved = 0
    for _ in range(20):
        pool = pools.random(rng, 60, 5, 5)
        moved += bool(len(policy.select(pool, 8, UNCONSTRAINED, seed=0).displaced))
    assert moved >= 15


@by_name
def test_what_was_displaced_and_what_it_cost(policy: SlatePolicy, pools: Any) -> None:
    pool = pools.random(np.random.default_rng(6), 50, 3, 2)
    answer = policy.select(pool, 8, Constraints(2, 3), seed=0)
    top = set(pool.by_relevance[:8].tolist())
    assert set(answer.displaced.tolist()) == top - set(answer.chosen.tolist())
    paid = pool.relevance[list(top)].mean() - pool.relevance[answer.chosen].mean()
    assert answer.relevance_paid == pytest.approx(paid, abs=1e-6)


@by_name
def test_a_crowded_pool_is_filled_without_a_search_that_grows_without_bound(policy: SlatePolicy, pools: Any) -> None:
    """1,000 candidates under caps that meet exactly: trying subsets would never end."""
    pool = pools.random(np.random.default_rng(8), 1000, 40, 3)
    known = dataclasses.replace(pool, channel=np.maximum(pool.channel, 0), category=np.maximum(pool.category, 0))
    assert len(policy.select(known, 50, Constraints(1, 13), seed=0).chosen) == 39


@by_name
def test_work_grows_with_candidates_and_with_places(policy: SlatePolicy, pools: Any) -> None:
    def cost(candidates: int, size: int) -> PythonCost:
        pool = pools.random(np.random.default_rng(4), candidates, 40, 4, tags=4)
        return python_cost(lambda: policy.select(pool, size, Constraints(3, 5, ()), seed=3))

    small = cost(400, 10)
    more = grown(small, cost(1600, 10))
    assert more["peak"] < LINEAR, "memory for every pair of candidates"
    assert more["calls"] < 1.5, "a loop over candidates"
    longer = grown(small, cost(400, 40))
    assert max(longer["peak"], longer["calls"]) < LINEAR
