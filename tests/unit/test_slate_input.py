"""What a policy is told of candidates and viewer, and what the answer tells of the policy."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from foveate.bundle import Bundle, default_state
from foveate.core.messages import NO_TIME, Filters, Query, RecommendRequest, ViewerHistory
from foveate.data.catalog import Catalog, Rows
from foveate.data.schema import ITEMS
from foveate.recommend.pipeline import LocalStages, make_context, recommend
from foveate.slate.constraints import Constraints
from foveate.slate.inputs import LateInput, SlateInput
from foveate.slate.rules.from_category import FromCategory
from foveate.state.sqlite.store import SqliteState
from foveate_serve.http.answers import slate_out

NOW = 1_742_169_600_000_000  # the end of the small world's two weeks


def history_of(bundle: Bundle, place: int = 0) -> ViewerHistory:
    with SqliteState(default_state(bundle.path), create=False) as state:
        return state.history(state.users(place + 1)[place])


def pool_of(bundle: Bundle, query: Query) -> SlateInput:
    model = bundle.model
    [ranked] = model.rank([query], model.candidates([query]))
    return model.slate_input(ranked)


def test_how_old_an_item_is_and_how_its_channel_stands() -> None:
    day = datetime(2025, 3, 1, tzinfo=UTC)
    rows = [("a", day), ("b", None), ("b", day), ("b", day), ("c", day), ("c", day), (None, day)]
    known = {"item_id": [f"v{i}" for i in range(7)], "channel_id": [c for c, _ in rows]}
    frame = pl.DataFrame({**known, "published_at": [at for _, at in rows]})
    blanks = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in ITEMS.items() if name not in frame.columns]
    catalog = Catalog(frame.with_columns(blanks).cast({"published_at": ITEMS["published_at"]}))
    third = 1 / 3
    np.testing.assert_allclose(catalog.channel_standing, [0, *[2 * third] * 3, third, third, np.nan], rtol=1e-6)
    half_a_day_later = int(day.timestamp() * 1e6) + 43_200_000_000
    np.testing.assert_allclose(catalog.age_days(np.arange(7), half_a_day_later), [0.5, np.nan, *[0.5] * 5])
    assert np.isnan(catalog.age_days(np.arange(7), NO_TIME)).all()


def test_gates_stay_shut_where_a_video_does_not_say() -> None:
    known = {
        "item_id": ["everywhere", "at home", "abroad", "nowhere", "silent"],
        "regions": [["*"], ["DE", "AT"], ["US"], [], None],
        "maturity": [0, 12, 18, 6, None],
    }
    catalog = Catalog(pl.DataFrame(known, schema_overrides={"maturity": ITEMS["maturity"]}))
    for filters, shut in (
        (Filters(), [False] * 5),
        (Filters(region="DE"), [False, False, True, True, True]),
        (Filters(region="FR"), [False, True, True, True, True]),
        (Filters(max_maturity=12), [False, False, True, False, True]),
        (Filters(max_maturity=6, region="DE"), [False, True, True, True, True]),
    ):
        assert catalog.forbidden(filters, NO_TIME).tolist() == shut
    assert np.isnan(catalog.safety).all(), "data of an older Foveate say nothing of safety"


def test_no_rule_and_no_short_slate_opens_a_gate(small_bundle: Bundle) -> None:
    """Only children's fare of one region is asked for, and rules that it cannot keep."""
    model, rule = small_bundle.model, FromCategory(category="Gaming", least=5)
    asked = replace(model, recipe=replace(model.recipe, constraints=Constraints(1, None, (replace(rule, soft=True),))))
    frame = model.catalog.frame
    open_ = (frame["maturity"] <= 6) & frame["regions"].list.eval(pl.element().is_in(["*", "US"])).list.any()
    allowed = set(frame["item_id"].filter(open_))
    assert 0 < len(allowed) < len(frame)
    with SqliteState(default_state(small_bundle.path), create=False) as state:
        request = RecommendRequest(state.users(1)[0], k=60, filters=Filters(max_maturity=6, region="US"))
        context = make_context(request, small_bundle.bundle_id, clock=lambda: NOW)
        slate = asyncio.run(recommend(request, context, LocalStages(asked, state)))
    assert 0 < len(slate.items) < 60
    assert {item.item_id for item in slate.items} <= allowed


def test_rows_of_a_sparse_matrix_are_its_rows() -> None:
    rng = np.random.default_rng(0)
    full = rng.random((12, 9)) * (rng.random((12, 9)) < 0.3)
    chosen = np.array([7, 0, 7, 11], dtype=np.int32)
    for few in (chosen, chosen[:0]):
        rows = Rows.of(sparse.csr_matrix(full), few)
        np.testing.assert_array_equal(rows.used(), np.flatnonzero(full[few].any(axis=0)))
        np.testing.assert_array_equal(rows.dense(rows.used()), full[few][:, rows.used()])
        np.testing.assert_allclose(rows.sums(9), full[few].sum(axis=0))


def test_a_policy_is_told_what_the_catalogue_and_the_history_say(small_bundle: Bundle) -> None:
    model = small_bundle.model
    query = model.query(history_of(small_bundle), Filters(), NOW)
    pool = pool_of(small_bundle, query)
    rows = [model.catalog.frame.row(code, named=True) for code in pool.codes.tolist()]
    for row, shares, tags, age in zip(rows, pool.categories, pool.tags, pool.age_days, strict=True):
        own = [pool.category_names[column] for column in np.flatnonzero(shares)]
        assert sorted(own) == sorted(row["categories"] or [])
        assert shares.sum() == pytest.approx(1.0 if own else 0.0)
        assert tags.sum() == len(set(row["tags"] or []))
        assert age == pytest.approx((NOW / 1e6 - row["published_at"].timestamp()) / 86_400, abs=0.01)
    wanted: Counter[str] = Counter()
    for code in query.items[query.positives].tolist():
        categories = model.catalog.frame["categories"][code].to_list()
        wanted.update({name: 1 / len(categories) for name in categories})
    expected = [wanted[name] / wanted.total() for name in pool.category_names]
    np.testing.assert_allclose(pool.taste, expected, rtol=1e-5)


def test_a_viewer_is_told_alike_alone_and_in_a_batch(small_bundle: Bundle) -> None:
    model = small_bundle.model
    queries = [model.query(history_of(small_bundle, place), Filters(), NOW) for place in range(4)]
    together = [model.slate_input(one) for one in model.rank(queries, model.candidates(queries))]
    for query, pool in zip(queries, together, strict=True):
        alone = pool_of(small_bundle, query)
        assert alone.category_names == pool.category_names
        np.testing.assert_array_equal(alone.taste, pool.taste)
        np.testing.assert_array_equal(alone.categories, pool.categories)


def test_of_a_stranger_nothing_is_told(small_bundle: Bundle) -> None:
    no_one = ViewerHistory("x", (), (), np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int64))
    pool = pool_of(small_bundle, small_bundle.model.query(no_one, Filters(), NOW))
    assert not pool.taste.any()


def test_what_was_relaxed_and_paid_reaches_the_answer(small_bundle: Bundle) -> None:
    model, rule = small_bundle.model, FromCategory(category="no such thing", soft=True)
    asked = replace(model, recipe=replace(model.recipe, constraints=Constraints(1, 3, (rule,))))
    with SqliteState(default_state(small_bundle.path), create=False) as state:
        request = RecommendRequest(state.users(1)[0], k=8)
        context = make_context(request, small_bundle.bundle_id, clock=lambda: NOW)
        slate = asyncio.run(recommend(request, context, LocalStages(asked, state)))
    assert slate.relaxed == (rule.label,)
    assert slate.relevance_paid is not None
    assert slate.relevance_paid > 0
    shown = model.catalog.shown([item.item_id for item in slate.items])
    answer = slate_out(request, context, slate, shown)
    assert (answer.relaxed, answer.relevance_paid) == ([rule.label], slate.relevance_paid)


def test_a_fact_that_is_not_made_is_missed_at_once(small_bundle: Bundle) -> None:
    pool = pool_of(small_bundle, small_bundle.model.query(history_of(small_bundle), Filters(), NOW))
    assert len(pool.duration) == len(pool)
    with pytest.raises(TypeError, match="duration, tags"):
        LateInput({name: make for name, make in pool._fields().items() if name not in ("duration", "tags")})
