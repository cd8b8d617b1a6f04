"""Every list order of the registry: it orders all candidates, and every policy and cap works on what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from foveate.core.config import from_dict, to_dict
from foveate.data.catalog import Catalog
from foveate.slate.base import SlatePolicy
from foveate.slate.constraints import UNCONSTRAINED, Constraints, broken
from foveate.slate.orders.base import Listed, ListOrder
from foveate.slate.relevance import Relevance

NAMES = list(ListOrder.variants)
N = 40


@pytest.fixture(scope="module")
def listed() -> Listed:
    """Forty of sixty items: dates and clicks that often tie, some dates unknown, one score not a number."""
    rng = np.random.default_rng(5)
    days = [None if day == 0 else day for day in rng.integers(0, 12, 60).tolist()]
    published = pl.Series(days, dtype=pl.Int64) * 86_400_000_000
    frame = pl.DataFrame(
        {
            "item_id": [f"v{code}" for code in range(60)],
            "published_at": published.cast(pl.Datetime("us", "UTC")),
        }
    )
    scores = rng.normal(size=N).round(1).astype(np.float32)
    scores[7] = np.nan
    items = np.sort(rng.choice(60, N, replace=False)).astype(np.int32)
    return Listed(items, scores, Catalog(frame), rng.integers(1, 6, 60).astype(np.float32) / 10)


def order_of(name: str, listed: Listed) -> list[int]:
    relevance = ListOrder.variants[name]().relevance(listed)
    assert relevance.dtype == np.float32
    assert relevance.shape == listed.items.shape
    sinking = np.where(np.isfinite(relevance), relevance, -np.inf)
    return np.lexsort((listed.items, -sinking)).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", NAMES)
def test_an_order_does_not_depend_on_where_candidates_stand(name: str, listed: Listed) -> None:
    turned = np.random.default_rng(0).permutation(N)
    again = Listed(listed.items[turned], listed.scores[turned], listed.catalog, listed.click_through)
    assert [int(turned[at]) for at in order_of(name, again)] == order_of(name, listed)
    assert order_of(name, Listed(listed.items[:0], listed.scores[:0], listed.catalog, listed.click_through)) == []
    assert from_dict(ListOrder, to_dict(ListOrder.variants[name]())) == ListOrder.variants[name]()


@pytest.mark.parametrize("policy", list(SlatePolicy.variants))
@pytest.mark.parametrize("name", NAMES)
def test_every_policy_keeps_the_caps_over_every_order(name: str, policy: str, listed: Listed, pools: Any) -> None:
    rng = np.random.default_rng(1)
    relevance = ListOrder.variants[name]().relevance(listed)
    category = rng.integers(0, 5, N)
    vectors = rng.normal(size=(N, 6))
    pool = pools.of(
        relevance,
        codes=listed.items,
        channel=rng.integers(0, 12, N),
        category=category,
        categories=category[:, None] == np.arange(5),
        category_names=tuple("abcde"),
        taste=np.full(5, 0.2),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
    )
    rules = Constraints(2, 3)
    chosen = SlatePolicy.variants[policy]().select(pool, 10, rules, 0).chosen
    assert len(set(chosen.tolist())) == 10
    assert not broken(pool, chosen, rules.hard, 10)
    plain = Relevance().select(pool, 10, UNCONSTRAINED, 0).chosen
    assert plain.tolist() == order_of(name, listed)[:10] == pool.by_relevance[:10].tolist()


def test_by_time_the_newest_come_first_and_the_better_score_of_one_day(listed: Listed) -> None:
    order = order_of("time", listed)
    published = listed.catalog.published_at[listed.items[order]]
    assert (published[1:] <= published[:-1]).all(), "unknown dates are the lowest of all"
    scores = np.nan_to_num(listed.scores[order], nan=-np.inf)
    same_day = published[1:] == published[:-1]
    assert same_day.any()
    assert (scores[1:] <= scores[:-1])[same_day].all()


def test_by_click_through_what_is_clicked_most_comes_first(listed: Listed) -> None:
    assert listed.click_through is not None
    clicked = listed.click_through[listed.items[order_of("click_through", listed)]]
    assert (np.diff(clicked) <= 0).all()


def test_by_score_the_scores_stay_as_they_are(listed: Listed) -> None:
    np.testing.assert_array_equal(ListOrder.variants["score"]().relevance(listed), listed.scores)
