"""What every slot policy keeps, whichever it is: a new file in the folder is tested unasked."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from costs import LINEAR, grown, python_cost
from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.slate.constraints import UNCONSTRAINED, Constraints, broken
from foveate.slate.exploration.base import SlotPolicy
from foveate.slate.exploration.config import Budget, Exploration, SlotDraw
from foveate.slate.inputs import SlateInput
from foveate.slate.max_sum import MaxSum
from foveate.slate.mmr import MMR
from foveate.slate.relevance import Relevance
from foveate.slate.rules.at_most import AtMost
from foveate.slate.rules.fresh import Fresh

SLOT_POLICIES = [cls() for _, cls in SlotPolicy.variants.items()]
by_name = pytest.mark.parametrize("slot", SLOT_POLICIES, ids=lambda slot: slot.name)
RULES = (
    UNCONSTRAINED,
    Constraints(1, 2, (Fresh(least=3, days=6.0),)),
    Constraints(2, 4, (AtMost(of="tag", most=1, window=3), Fresh(least=2, soft=True))),
)


def draw(slot: SlotPolicy, seed: int = 1, budget: Budget | None = None, before: int = 0) -> SlotDraw:
    return SlotDraw(slot, budget or Budget(), "any", seed, before)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))


@by_name
def test_a_config_comes_back_as_it_was(slot: SlotPolicy) -> None:
    exploration = Exploration(slot, Budget(traffic=0.5, places=0.2, relevance=0.1))
    assert from_dict(Exploration, to_dict(exploration)) == exploration
    assert exploration.policy_id.startswith(f"{slot.name}-")
    assert dataclasses.replace(exploration, budget=Budget()).policy_id != exploration.policy_id
    assert Exploration().text == Exploration().policy_id == ""


@by_name
def test_odds_are_those_of_all_finite_candidates(slot: SlotPolicy) -> None:
    logits = slot.logits(np.array([1e30, 2.0, 1.0, -1e30]))
    assert logits.shape == (4,)
    assert np.isfinite(logits).all()
    assert (np.diff(logits) <= 0).all(), "what is more relevant is not less likely"


@by_name
@pytest.mark.parametrize("rules", RULES, ids=["free", "caps", "windows"])
def test_an_explored_slate_is_as_long_and_keeps_what_the_policys_own_keeps(
    slot: SlotPolicy, rules: Constraints, pools: Any
) -> None:
    rng = np.random.default_rng(3)
    drawn = 0
    for seed in range(60):
        pool = pools.random(rng, int(rng.integers(0, 40)), 6, 4, tags=5, spoilt=0.1)
        for policy in (Relevance(), MMR(strength=0.6), MaxSum(strength=0.4)):
            plain, answer = (policy.select(pool, 8, rules, 1, one) for one in (None, draw(slot, seed)))
            chosen = answer.chosen.tolist()
            assert len(chosen) == len(plain.chosen)
            assert len(set(chosen)) == len(chosen)
            assert not broken(pool, answer.chosen, rules.hard, 8)
            kept = [rule for rule in rules.soft if rule.label not in answer.relaxed]
            assert not broken(pool, answer.chosen, kept, len(chosen))
            assert answer.relaxed == plain.relaxed
            assert np.isnan(plain.odds).all()
            odds = answer.odds[~np.isnan(answer.odds)]
            assert ((odds > 0) & (odds < 1)).all(), "a place that is certain is not explored"
            assert np.isfinite(pool.relevance[answer.chosen[~np.isnan(answer.odds)]]).all()
            under = policy.odds(answer.chosen, pool, 8, rules, seed=1, draw=draw(slot, seed))
            np.testing.assert_allclose(np.where(np.isnan(answer.odds), 1.0, answer.odds), under, rtol=1e-12)
            drawn += len(odds)
    assert drawn > 100


@by_name
def test_the_same_seed_draws_the_same_in_any_order_of_input(slot: SlotPolicy, pools: Any) -> None:
    rng = np.random.default_rng(5)
    for rules in RULES:
        pool = pools.random(rng, 40, 9, 5, tags=4)
        once = MMR().select(pool, 10, rules, 7, draw(slot))
        again = MMR().select(pool, 10, rules, 7, draw(slot))
        assert once.chosen.tolist() == again.chosen.tolist()
        assert same(once.odds, again.odds)
        other = pool.take(rng.permutation(40))
        turned = MMR().select(other, 10, rules, 7, draw(slot))
        assert other.codes[turned.chosen].tolist() == pool.codes[once.chosen].tolist()
        assert same(turned.odds, once.odds)


@by_name
def test_other_seeds_and_later_pages_draw_something_else(slot: SlotPolicy, pools: Any) -> None:
    pool = pools.random(np.random.default_rng(6), 60, 9, 5)
    slates = {tuple(MMR().select(pool, 10, UNCONSTRAINED, 7, draw(slot, seed)).chosen) for seed in range(30)}
    assert len(slates) > 10
    pages = {tuple(MMR().select(pool, 10, UNCONSTRAINED, 7, draw(slot, 1, None, 10 * n)).chosen) for n in range(30)}
    assert len(pages) > 10, "noise of earlier pages is not used again"


@by_name
def test_nothing_is_drawn_from_one_candidate(slot: SlotPolicy, pools: Any) -> None:
    for pool in (pools.of([1.0]), pools.of([1.0, np.nan, np.inf])):
        answer = Relevance().select(pool, 5, UNCONSTRAINED, 0, draw(dataclasses.replace(slot, places=(1,))))
        assert np.isnan(answer.odds).all()
        assert answer.chosen[0] == 0


@by_name
def test_a_budget_of_relevance_is_kept(slot: SlotPolicy, pools: Any) -> None:
    rng = np.random.default_rng(7)
    slot = dataclasses.replace(slot, places=(2, 4, 5))
    paid = []
    for seed in range(100):
        pool = pools.of(rng.normal(size=50))
        best, span = np.sort(pool.relevance)[::-1][:8].sum(), float(np.ptp(pool.relevance))
        for share in (0.05, 0.3):
            answer = Relevance().select(pool, 8, UNCONSTRAINED, 0, draw(slot, seed, Budget(relevance=share)))
            assert best - pool.relevance[answer.chosen].sum() <= share * span + 1e-4
            paid.append(best - pool.relevance[answer.chosen].sum())
        nothing = Relevance().select(pool, 8, UNCONSTRAINED, 0, draw(slot, seed, Budget(relevance=0.0)))
        assert nothing.chosen.tolist() == np.argsort(-pool.relevance)[:8].tolist()
    assert max(paid) > 0.1


@by_name
def test_a_budget_of_places_and_of_traffic_is_kept_on_average(slot: SlotPolicy) -> None:
    slot = dataclasses.replace(slot, places=tuple(range(1, 9)))
    for share, traffic in ((0.25, 1.0), (0.33, 1.0), (1.0, 0.3), (0.5, 0.5), (0.0, 1.0), (1.0, 0.0)):
        counts = np.array([len(draw(slot, seed, Budget(traffic, share)).places(10)) for seed in range(4000)])
        assert counts.max() <= min(8, np.ceil(10 * share))
        expected = traffic * min(8.0, 10 * share)
        assert abs(counts.mean() - expected) <= 5 * max(counts.std(), 1e-9) / np.sqrt(4000)
        assert abs((counts > 0).mean() - (traffic if share else 0.0)) < 0.04
    which = np.array([sorted(draw(slot, seed, Budget(places=0.1)).places(10)) for seed in range(4000)]).ravel()
    assert np.bincount(which, minlength=8).min() > 400, "every named place has its share"
    assert draw(slot).places(3) == {0, 1, 2}


@by_name
def test_leaving_a_candidate_out_changes_no_others_noise(slot: SlotPolicy, pools: Any) -> None:
    """So a slate without a rule, or without an item that was not shown, is the same but where it must differ."""
    pool = pools.of(np.linspace(2.0, 0.0, 12))
    slot = dataclasses.replace(slot, places=(1,), top=50)
    for seed in range(50):
        drawn = int(Relevance().select(pool, 3, UNCONSTRAINED, 0, draw(slot, seed)).chosen[0])
        without = int((drawn + 5) % 12)
        others = np.delete(np.arange(12), without)
        again = Relevance().select(pool.take(others), 3, UNCONSTRAINED, 0, draw(slot, seed)).chosen[0]
        assert others[again] == drawn


@by_name
def test_work_grows_with_candidates_and_with_places(slot: SlotPolicy, pools: Any) -> None:
    def cost(candidates: int, size: int) -> Any:
        pool: SlateInput = pools.random(np.random.default_rng(4), candidates, 40, 4, tags=4)
        every = dataclasses.replace(slot, places=tuple(range(1, size + 1)))
        return python_cost(lambda: MMR().select(pool, size, Constraints(3, 5), 3, draw(every)))

    small = cost(400, 10)
    more = grown(small, cost(1600, 10))
    assert more["peak"] < LINEAR, "memory for every pair of candidates"
    assert more["calls"] < 1.5, "a loop over candidates"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"policy": {"name": "plackett_luce", "temperature": 0}}, "temperature"),
        ({"policy": {"name": "plackett_luce", "top": 1}}, "top"),
        ({"policy": {"name": "uniform_slots", "places": [0]}}, "places"),
        ({"policy": {"name": "uniform_slots", "places": [2, 2]}}, "places"),
        ({"policy": {"name": "uniform_slots", "places": []}}, "places"),
        ({"policy": "epsilon"}, "slot policy"),
        ({"budget": {"traffic": 1.5}}, "traffic"),
        ({"budget": {"places": -0.1}}, "places"),
        ({"budget": {"relevance": -1}}, "relevance"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_dict(Exploration, settings)
