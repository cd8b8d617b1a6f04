"""The slate's own arithmetic: each policy's formula by hand, each rule by hand, and settings that make no sense."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.slate.base import SlatePolicy
from foveate.slate.calibrated import Calibrated
from foveate.slate.constraints import UNCONSTRAINED, Constraints, broken
from foveate.slate.diversity_first import DiversityFirst
from foveate.slate.dpp import DPP
from foveate.slate.inputs import SlateInput, unit_range
from foveate.slate.max_sum import MaxSum
from foveate.slate.mmr import MMR
from foveate.slate.relevance import Relevance
from foveate.slate.remainder import Remainder
from foveate.slate.rules.at_most import AtMost
from foveate.slate.rules.base import Rule
from foveate.slate.rules.exposure import ExposureOfChannels, ExposureOfSmall
from foveate.slate.rules.fresh import Fresh
from foveate.slate.rules.from_category import FromCategory
from foveate.slate.rules.small_channel import SmallChannel
from foveate.slate.sliding_spectrum import SlidingSpectrum


def shown(policy: SlatePolicy, pool: SlateInput, size: int, rules: Constraints = UNCONSTRAINED) -> list[int]:
    chosen: list[int] = policy.select(pool, size, rules, seed=0).chosen.tolist()
    return chosen


def unit_vectors(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    vectors = rng.normal(size=(n, width))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_mmr_by_hand(pools: Any) -> None:
    """Relevance 1, 0.9, 0.5 of two likes and one other: strength decides which comes second."""
    pool = pools.of([2.0, 1.8, 1.0, 0.0], vectors=[[1, 0], [1, 0], [0, 1], [0, -1]])
    # Second pick at strength 0.2: 0.8 * 0.9 - 0.2 * 1 = 0.52 against 0.8 * 0.5 - 0 = 0.40.
    assert shown(MMR(strength=0.2), pool, 3) == [0, 1, 2]
    # At strength 0.4: 0.6 * 0.9 - 0.4 * 1 = 0.14 against 0.6 * 0.5 - 0 = 0.30.
    assert shown(MMR(strength=0.4), pool, 3) == [0, 2, 1]


def test_mmr_grows_more_varied_with_strength(pools: Any) -> None:
    rng = np.random.default_rng(1)
    pool = pools.of(rng.normal(size=200), vectors=unit_vectors(rng, 200, 8))

    def likeness(strength: float) -> float:
        vectors = pool.vectors[shown(MMR(strength=strength), pool, 10)]
        return float((vectors @ vectors.T - 2 * np.eye(10)).max(axis=1).mean())

    assert likeness(0.0) > likeness(0.3) > likeness(0.8)


@pytest.mark.parametrize("window", [3, 4, 10])
def test_dpp_is_the_greedy_choice_by_determinants(pools: Any, window: int) -> None:
    """Every pick has the largest relevance and gain of log determinant over the window, computed in full."""
    rng, strength = np.random.default_rng(window), 0.4
    pool = pools.of(rng.normal(size=25), vectors=unit_vectors(rng, 25, 20))
    relevance, gram = unit_range(pool.relevance), pool.vectors.astype(np.float64) @ pool.vectors.T.astype(np.float64)

    def log_det(positions: list[int]) -> float:
        return float(np.linalg.slogdet(gram[np.ix_(positions, positions)])[1]) if positions else 0.0

    expected: list[int] = []
    for _ in range(8):
        before = expected[max(0, len(expected) - window + 1) :]
        worth = {
            i: (1 - strength) * relevance[i] + strength * (log_det([*before, i]) - log_det(before))
            for i in set(range(25)) - set(expected)
        }
        expected.append(max(worth, key=lambda i: worth[i]))
    assert shown(DPP(strength=strength, window=window), pool, 8) == expected


def test_what_picks_leave_of_a_vector() -> None:
    half = math.sqrt(0.5)
    left = Remainder(np.array([[1, 0, 0], [half, half, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32), most=3)
    left.add(0)
    np.testing.assert_allclose(left.square_N, [0, 0.5, 1, 1, 1], atol=1e-6)
    left.add(1)
    np.testing.assert_allclose(left.square_N, [0, 0, 0, 1, 1], atol=1e-6)
    left.add(4)
    np.testing.assert_allclose(left.square_N, [0, 0, 0, 1, 0], atol=1e-6)
    # The first pick forgotten wholly, the second has its own direction again, the diagonal.
    left.forget_first()
    np.testing.assert_allclose(left.square_N, [0.5, 0, 0.5, 1, 0], atol=1e-4)
    assert len(left) == 2


def test_an_item_that_slides_out_gives_back_its_own_shadow_once() -> None:
    half = math.sqrt(0.5)
    left = Remainder(np.array([[1, 0], [half, half], [0, 1]], dtype=np.float32), most=2)
    left.add(0)
    left.add(1)
    left.give_back_first()
    # The second pick's direction stays what was left of it beside the first: the upright one.
    np.testing.assert_allclose(left.square_N, [1, 0.5, 0], atol=1e-6)


def test_sliding_spectrum_by_hand(pools: Any) -> None:
    """Window 2. Vectors: two the same, one at 60 degrees, one upright; relevance 1, 0.9, 0.5, 0."""
    pool = pools.of([1.0, 0.9, 0.5, 0.0], vectors=[[1, 0], [1, 0], [0.5, math.sqrt(0.75)], [0, 1]])
    # First 0.5 * 1 + 0.5. Second: 0.5 * (0.9, 0.5, 0) + 0.5 * 1 * (0, 0.866, 1) = 0.45, 0.683, 0.5.
    # Third: the first has slid out; the volume is 0.866; beside the upright part of item 2 that leaves item 1 whole
    # and nothing of item 3: 0.5 * 0.9 + 0.5 * 0.866 * 1 = 0.883 against 0.
    assert shown(SlidingSpectrum(strength=0.5, window=2), pool, 4) == [0, 2, 1, 3]
    # At strength 0.2 the second pick is 0.8 * 0.9 = 0.72 against 0.8 * 0.5 + 0.2 * 0.866 = 0.573.
    assert shown(SlidingSpectrum(strength=0.2, window=2), pool, 2) == [0, 1]
    # A pick that added nothing takes the volume to 0: relevance decides until it has slid out.
    assert shown(SlidingSpectrum(strength=0.2, window=3), pool, 4) == [0, 1, 2, 3]


def test_calibration_by_hand(pools: Any) -> None:
    """The viewer's history is three quarters drama: beside an item of both, drama makes the mix exact."""
    facts = {"categories": [[1, 0], [1, 0], [0, 1], [0.5, 0.5]], "category_names": ("comedy", "drama")}
    pool = pools.of([1.0, 0.8, 0.5, 0.0], taste=[0.25, 0.75], **facts)
    # The first pick's sum of p log q, with a hundredth of p in q: comedy 0.25 log 0.9925 + 0.75 log 0.0075 = -3.67,
    # drama 0.25 log 0.0025 + 0.75 log 0.9975 = -1.50, both 0.25 log 0.4975 + 0.75 log 0.5025 = -0.69.
    # At strength 0.5: 0.5 - 1.84, 0.4 - 1.84, 0.25 - 0.75 and 0 - 0.35: the item of both.
    # Then comedy makes 0.25 log 0.745 + 0.75 log 0.255 = -1.10 and drama 0.25 log 0.25 + 0.75 log 0.75 = -0.56:
    # 0.5 - 0.55, 0.4 - 0.55 and 0.25 - 0.28: drama.
    assert shown(Calibrated(strength=0.5), pool, 2) == [3, 2]
    assert shown(Calibrated(strength=0.01), pool, 2) == [0, 1]
    stranger = pools.of([1.0, 0.8, 0.5, 0.0], taste=[0, 0], **facts)
    assert shown(Calibrated(strength=0.5), stranger, 3) == [0, 1, 2], "nothing is known to be near to"


def test_diversity_first_by_hand(pools: Any) -> None:
    """First what is new in channel and category, then what is new in either, then relevance."""
    pool = pools.of(
        [1.0, 0.9, 0.8, 0.2, 0.0],
        channel=[0, 0, 0, 1, 2],
        categories=[[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]],
        category_names=("a", "b"),
    )
    # After item 0: 1 and 4 bring nothing and a channel, 2 brings a category, 3 brings both; then 4 brings a channel.
    assert shown(DiversityFirst(), pool, 5) == [0, 3, 4, 1, 2]
    # At strength 0.2 something new is worth 0.4: 0.9, 0.8 + 0.4, 0.2 + 0.8, 0 + 0.4; then 0.9, 0.2 + 0.4, 0 + 0.4.
    assert shown(DiversityFirst(strength=0.2), pool, 3) == [0, 2, 1]


def test_a_window_moves_with_the_slate(pools: Any) -> None:
    pool = pools.of([5.0, 4.0, 3.0, 2.0, 1.0], channel=[0, 0, 0, 1, 1])
    apart = AtMost(of="channel", most=1, window=2)
    assert shown(Relevance(), pool, 5, Constraints(None, None, (apart,))) == [0, 3, 1, 4, 2]
    assert broken(pool, np.array([0, 1, 3]), [apart], 3) == ("at most 1 of a channel in any 2",)
    assert not broken(pool, np.array([0, 3, 1]), [apart], 3)


def test_a_window_as_wide_as_the_slate_is_the_whole_slate(pools: Any) -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        pool = pools.random(rng, 20, 4, 3, tags=4)
        for of in ("channel", "category", "tag"):
            one, other = (Constraints(None, None, (AtMost(of=of, most=2, window=width),)) for width in (6, None))
            assert shown(MMR(), pool, 6, one) == shown(MMR(), pool, 6, other)
        capped = Constraints(None, None, (AtMost(of="channel", most=1), AtMost(of="category", most=2)))
        assert shown(MMR(), pool, 6, Constraints(1, 2)) == shown(MMR(), pool, 6, capped)


def test_a_tag_is_capped_in_every_item_that_has_it(pools: Any) -> None:
    pool = pools.of([4.0, 3.0, 2.0, 1.0], tags=[[1, 0], [1, 1], [0, 1], [0, 0]])
    assert shown(Relevance(), pool, 3, Constraints(None, None, (AtMost(of="tag"),))) == [0, 2, 3]


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        (Fresh(least=2, days=7.0), {"age_days": [30, 8, 7, np.nan, 0.5]}),
        (SmallChannel(least=2, quantile=0.5), {"channel_standing": [0.9, 0.5, 0.1, np.nan, 0.49]}),
        (
            FromCategory(least=2, category="news"),
            {"categories": [[1, 0], [1, 0], [0.5, 0.5], [0, 0], [0, 1]], "category_names": ("sport", "news")},
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_floor_keeps_places(pools: Any, rule: Rule, facts: dict[str, Any]) -> None:
    """Items 2 and 4 count, and are not among the best three."""
    pool = pools.of([5.0, 4.0, 3.0, 2.0, 1.0], **facts)
    assert shown(Relevance(), pool, 3, Constraints(None, None, (rule,))) == [0, 2, 4]
    assert broken(pool, np.array([0, 1, 2]), [rule], 3) == (rule.label,)
    without = pool.take(np.array([0, 1, 2, 3]))
    # One that counts is missing: a hard floor leaves its place empty, a soft one yields.
    assert shown(Relevance(), without, 3, Constraints(None, None, (rule,))) == [0, 2]
    soft = from_dict(Rule, {**to_dict(rule), "soft": True})
    answer = Relevance().select(without, 3, Constraints(None, None, (soft,)), seed=0)
    assert answer.chosen.tolist() == [0, 1, 2]
    assert answer.relaxed == (rule.label,)


def test_the_last_soft_rule_yields_first_and_only_as_many_as_must(pools: Any) -> None:
    pool = pools.of([3.0, 2.0, 1.0], channel=[0, 0, 0], age_days=[9, 9, 1])
    fresh, apart, spread = Fresh(soft=True), AtMost(most=2, soft=True), AtMost(most=1, soft=True)

    def relaxed(*rules: Rule) -> tuple[list[int], tuple[str, ...]]:
        answer = Relevance().select(pool, 2, Constraints(None, None, rules), seed=0)
        return answer.chosen.tolist(), answer.relaxed

    assert relaxed(fresh, apart) == ([0, 2], ())
    assert relaxed(fresh, apart, spread) == ([0, 2], (spread.label,))
    assert relaxed(fresh, spread, apart) == ([0, 2], (apart.label, spread.label))
    assert relaxed(spread, apart, fresh) == ([0, 1], (fresh.label, apart.label, spread.label))


def test_a_soft_rule_is_held_to_even_in_a_slate_that_falls_short(pools: Any) -> None:
    """The hard cap leaves two of three places: one of them is still for what is fresh."""
    pool = pools.of([4.0, 3.0, 2.0, 1.0], channel=[0, 0, 1, 1], age_days=[9, 9, 9, 1])
    answer = Relevance().select(pool, 3, Constraints(1, None, (Fresh(soft=True),)), seed=0)
    assert (answer.chosen.tolist(), answer.relaxed) == ([0, 3], ())


def test_a_share_of_places_holds_on_average_and_whole_places_always(pools: Any) -> None:
    """0.15 of 10 places: one in every slate, a second in half of them; the best ten are none of theirs."""
    pool = pools.of(np.arange(20, 0, -1), channel=[0] * 15 + [1, 2, 3, 4, 5], channel_standing=[0.9] * 15 + [0.1] * 5)
    for rule in (
        ExposureOfSmall(share=0.15, quantile=0.5),
        ExposureOfChannels(share=0.15, channels=("channel 1", "channel 3", "channel 5", "nobody")),
    ):
        rules = Constraints(None, None, (rule,))
        own = rule.members(pool)
        kept = [int(own[Relevance().select(pool, 10, rules, seed=seed).chosen].sum()) for seed in range(400)]
        assert set(kept) == {1, 2}
        assert np.mean(kept) == pytest.approx(1.5, abs=0.08)
        again = [int(own[Relevance().select(pool, 10, rules, seed=seed).chosen].sum()) for seed in range(20)]
        assert again == kept[:20], "a request's seed decides"


def test_two_shares_are_drawn_apart(pools: Any) -> None:
    pool = pools.of(np.arange(20, 0, -1), channel=[0] * 10 + [1] * 5 + [2] * 5)
    one, other = (ExposureOfChannels(share=0.05, channels=(f"channel {code}",)) for code in (1, 2))
    counts = []
    for seed in range(200):
        chosen = Relevance().select(pool, 10, Constraints(None, None, (one, other)), seed=seed).chosen
        counts.append(int((pool.channel[chosen] > 0).sum()))
    assert {counts.count(n) > 25 for n in (0, 1, 2)} == {True}


def test_a_share_that_candidates_cannot_fill_leaves_places_or_yields(pools: Any) -> None:
    pool = pools.of([4.0, 3.0, 2.0, 1.0], channel=[0, 0, 0, 1], channel_standing=[0.9, 0.9, 0.9, 0.1])
    rule = ExposureOfSmall(share=0.5)
    assert shown(Relevance(), pool, 4, Constraints(None, None, (rule,))) == [0, 1, 3]
    answer = Relevance().select(pool, 4, Constraints(None, None, (replace(rule, soft=True),)), seed=0)
    assert (answer.chosen.tolist(), answer.relaxed) == ([0, 1, 2, 3], (rule.label,))


def test_what_is_not_safe_loses_relevance(pools: Any) -> None:
    """Scores from 4 to 0: with a penalty of 0.5 the unsafe item 0 is worth 4 - 0.5 * 4 = 2, and half of it 3."""
    pool = pools.of([4.0, 3.5, 2.5, 0.0], safety=[0.0, 1.0, np.nan, np.nan])
    assert shown(Relevance(), pool, 3) == [0, 1, 2]
    assert shown(Relevance(), pool, 3, Constraints(None, None, safety_penalty=0.5)) == [1, 2, 0]
    half = pools.of([4.0, 3.5, 2.5, 0.0], safety=[0.5, 1.0, np.nan, np.nan])
    assert shown(Relevance(), half, 3, Constraints(None, None, safety_penalty=0.5)) == [1, 0, 2]
    answer = Relevance().select(pool, 2, Constraints(None, None, safety_penalty=0.5), seed=0)
    assert answer.relevance_paid == pytest.approx(3.75 - 3.0), "the price is counted in the ranker's own scores"
    unknown = pools.of([4.0, 3.5], safety=[np.nan, np.nan])
    assert shown(Relevance(), unknown, 2, Constraints(None, None, safety_penalty=5.0)) == [0, 1]


def test_max_sum_by_hand(pools: Any) -> None:
    """Chances 0.5, 0.3 and 0.2 of two likes and their opposite: a chance is worth a hundredth of dissimilarity."""
    pool = pools.of(np.log([0.2, 0.5, 0.3]), vectors=[[-1, 0], [1, 0], [1, 0]])
    np.testing.assert_allclose(MaxSum().scale(pool.relevance), [0.2, 0.5, 0.3], rtol=1e-6)
    # Second pick at strength 0.5: 0.5 * 0.3 against 0.5 * 0.2 + 0.5 * 0.01 * 2 = 0.11.
    assert shown(MaxSum(strength=0.5), pool, 2) == [1, 2]
    # At strength 0.9: 0.1 * 0.3 = 0.03 against 0.1 * 0.2 + 0.9 * 0.02 = 0.038.
    assert shown(MaxSum(strength=0.9), pool, 2) == [1, 0]


def test_max_sum_shows_its_picks_by_relevance_where_windows_let_it(pools: Any) -> None:
    # The second pick is unlike the first, the third is better: it is shown before the second.
    pool = pools.of(np.log([0.4, 0.3, 0.29, 0.01]), vectors=[[1, 0], [1, 0], [1, 0], [-1, 0]], channel=[0, 0, 1, 2])
    assert shown(MaxSum(strength=0.97), pool, 3) == [0, 1, 3]
    apart = Constraints(None, None, (AtMost(of="channel", most=1, window=2),))
    assert shown(MaxSum(strength=0.97), pool, 3, apart) == [0, 3, 1]


def test_what_constraints_cost(pools: Any) -> None:
    pool = pools.of([4.0, 3.0, 1.0], channel=[0, 0, 1])
    answer = Relevance().select(pool, 2, Constraints(1, None), seed=0)
    assert answer.relevance_paid == pytest.approx(3.5 - 2.5)
    assert answer.displaced.tolist() == [1]
    assert Relevance().select(pool, 2, UNCONSTRAINED, seed=0).relevance_paid == 0.0


def test_constraints_are_read_and_said() -> None:
    plain = {
        "max_per_channel": 1,
        "rules": [
            {"name": "at_most", "of": "tag", "most": 3, "window": 5, "soft": True},
            {"name": "fresh", "least": 2, "days": 1.5},
            {"name": "from_category", "category": "news"},
            "small_channel",
        ],
    }
    rules = from_dict(Constraints, plain)
    assert from_dict(Constraints, to_dict(rules)) == rules
    assert rules.labels == (
        "at most 1 of a channel",
        "at most 4 of a category",
        "at least 2 of the last 1.5 days",
        "at least 1 of category 'news'",
        "at least 1 of the smallest 50 % of channels",
        "at most 3 of a tag in any 5 (soft)",
    )


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (Constraints, {"max_per_channel": 0}, "max_per_channel must be at least 1"),
        (Constraints, {"rules": ["at_mots"]}, "Did you mean 'at_most'"),
        (Rule, {"name": "at_most", "most": 0}, "most must be at least 1"),
        (Rule, {"name": "at_most", "most": 2, "window": 2}, "a window of 2 places cannot hold more than 2"),
        (Rule, {"name": "fresh", "least": 0}, "least must be at least 1"),
        (Rule, {"name": "fresh", "days": 0}, "days must be above 0"),
        (Rule, {"name": "small_channel", "quantile": 0}, "quantile must lie above 0"),
        (Rule, "from_category", "setting 'category' is missing"),
        (Rule, {"name": "exposure_of_small", "share": 1}, "share must lie between 0 and 1"),
        (Rule, {"name": "exposure_of_small", "quantile": 0}, "quantile must lie above 0"),
        (Rule, {"name": "exposure_of_channels", "channels": []}, "channels must name at least one"),
        (Constraints, {"safety_penalty": -1}, "safety_penalty must be 0 or more"),
        (SlatePolicy, {"name": "mmr", "strength": 1.5}, "strength must lie between 0 and 1"),
        (SlatePolicy, {"name": "dpp", "window": 1}, "window must be at least 2"),
        (SlatePolicy, {"name": "sliding_spectrum", "window": 1}, "window must be at least 2"),
        (SlatePolicy, "mrr", "Did you mean 'mmr'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: type, data: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(kind, data)
