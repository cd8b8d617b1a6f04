"""Slates against every slate there could be: as long as any, and no soft rule given up that could be kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from foveate.slate.constraints import Constraints
from foveate.slate.inputs import SlateInput, unit_range
from foveate.slate.limits import Limits
from foveate.slate.relevance import Relevance
from foveate.slate.rules.at_most import AtMost
from foveate.slate.rules.base import Rule
from foveate.slate.rules.fresh import Fresh
from foveate.slate.rules.from_category import FromCategory
from foveate.slate.rules.small_channel import SmallChannel

rules = st.one_of(
    st.builds(
        lambda of, most, wider, soft: AtMost(of=of, most=most, window=most + wider if wider else None, soft=soft),
        st.sampled_from(["channel", "category", "tag"]),
        st.integers(1, 2),
        st.integers(0, 2),
        st.booleans(),
    ),
    st.builds(Fresh, least=st.integers(1, 2), days=st.just(8.0), soft=st.booleans()),
    st.builds(SmallChannel, quantile=st.just(0.4), soft=st.booleans()),
)


def holds(pool: SlateInput, slate: Sequence[int], rule: Rule, slots: int) -> bool:
    """The rule's own words, without the arrays that the search works on."""
    if isinstance(rule, AtMost):
        own = {"channel": pool.channel, "category": pool.category}
        of_item = [
            np.flatnonzero(pool.tags[i]).tolist() if rule.of == "tag" else [c for c in [own[rule.of][i]] if c >= 0]
            for i in slate
        ]
        width = rule.window or len(slate)
        windows = [of_item[at : at + width] for at in range(max(1, len(slate) - width + 1))]
        return all(max(Counter(c for codes in w for c in codes).values(), default=0) <= rule.most for w in windows)
    member = pool.age_days <= 8.0 if isinstance(rule, Fresh) else pool.channel_standing < 0.4
    return sum(not member[i] for i in slate) <= max(0, slots - rule.least)


def longest(pool: SlateInput, slots: int, hard: Sequence[Rule], soft: Sequence[Rule], size: int) -> int:
    """By trying every order of every choice; what breaks a rule cannot be mended by going on."""

    def extend(slate: list[int]) -> int:
        best = len(slate)
        for item in range(len(pool)):
            longer = [*slate, item]
            if best == slots:
                return best
            if item not in slate and all(
                holds(pool, longer, rule, n) for group, n in ((hard, size), (soft, slots)) for rule in group
            ):
                best = max(best, extend(longer))
        return best

    return extend([])


@given(seed=st.integers(0, 2**32 - 1), stated=st.lists(rules, max_size=4), size=st.integers(1, 4))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_soft_rules_yield_in_order_and_only_before_the_slate_falls_short(
    pools: Any, seed: int, stated: list[Rule], size: int
) -> None:
    rng = np.random.default_rng(seed)
    pool = pools.random(rng, int(rng.integers(1, 7)), 3, 3, tags=3)
    constraints = Constraints(None, None, tuple(stated))
    hard, soft = constraints.hard, constraints.soft
    answer = Relevance().select(pool, size, constraints, seed=0)
    chosen = answer.chosen.tolist()

    possible = longest(pool, min(size, len(pool)), hard, (), size)
    assert len(chosen) == possible
    kept = len(soft)
    while longest(pool, possible, hard, soft[:kept], size) < possible:
        kept -= 1
    assert answer.relaxed == tuple(rule.label for rule in reversed(soft[kept:]))
    assert all(holds(pool, chosen, rule, size) for rule in hard)
    assert all(holds(pool, chosen, rule, possible) for rule in soft[:kept])


def best_worth(pool: SlateInput, size: int, stated: Sequence[Rule]) -> float | None:
    """By integer programming: the most that a full slate can be worth under rules over the whole slate."""
    limits = Limits.of(stated, pool, size)
    rows = np.vstack([np.ones(len(pool)), limits.members])
    bounds = LinearConstraint(rows, np.array([size, *[0] * len(limits.most)]), np.array([size, *limits.most]))
    cost = -unit_range(pool.relevance).astype(np.float64)
    answer = milp(cost, constraints=bounds, integrality=np.ones(len(pool)), bounds=Bounds(0, 1))
    return None if answer.x is None else float(-answer.fun)


def test_without_strength_slates_are_found_and_worth_what_they_could_be(pools: Any) -> None:
    """500 small pools with overlapping tags and quotas, against the optimum."""
    rng = np.random.default_rng(7)
    shares: list[float] = []
    missed = 0
    for _ in range(500):
        pool = pools.random(rng, int(rng.integers(10, 31)), 5, 4, tags=6)
        size = int(rng.integers(4, 9))
        caps = [AtMost(of=of, most=int(rng.integers(1, 4))) for of in ("channel", "category", "tag")]
        floors = [Fresh(least=2, days=5.0), SmallChannel(quantile=0.3), FromCategory(category="category 1")]
        stated = tuple(rule for rule in (*caps, *floors) if rng.random() < 0.7)
        chosen = Relevance().select(pool, size, Constraints(None, None, stated), seed=0).chosen
        best = best_worth(pool, size, stated)
        if best is None:
            assert len(chosen) < size
        elif len(chosen) < size:
            missed += 1
        else:
            shares.append(float(unit_range(pool.relevance)[chosen].sum()) / best)
    assert len(shares) > 250, "most cases should have a full slate"
    assert missed <= 0.01 * len(shares)
    assert np.median(shares) >= 0.95
    assert min(shares) >= 0.85
