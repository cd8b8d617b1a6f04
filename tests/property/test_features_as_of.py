"""Every feature of the registry: the vectorised past equals the fold of single events, on random logs."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foveate.core.messages import NO_TIME, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS, ITEMS
from foveate.features.core import Feature, FeatureRows, events_of, fold_order, visible

USERS, ITEM_COUNT = 4, 7
HOUR = 3_600_000_000
START = 1_650_000_000_000_000

NAMES = list(Feature.variants)


def catalog_of(draw: st.DrawFn) -> Catalog:
    def column(strategy: st.SearchStrategy[object]) -> list[object]:
        return [draw(st.none() | strategy) for _ in range(ITEM_COUNT)]

    labels = st.lists(st.sampled_from("abcd"), max_size=3, unique=True)
    published = st.integers(-500, 500).map(lambda h: datetime.fromtimestamp(START / 1e6 + 3600 * h, UTC))
    columns = {
        "item_id": [f"v{i}" for i in range(ITEM_COUNT)],
        "channel_id": column(st.sampled_from(["x", "y", "z"])),
        "categories": column(labels),
        "tags": column(labels),
        "duration_seconds": column(st.sampled_from([0.0, 5.0, 30.0, 600.0])),
        "published_at": column(published),
    }
    blank = {name: [None] * ITEM_COUNT for name in ITEMS if name not in columns}
    return Catalog(pl.DataFrame({**columns, **blank}, schema=ITEMS))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Catalog, Events, FeatureRows]:
    """A catalogue with gaps, a log with missing and tied times, and rows that ask about any moment of it."""
    catalog = catalog_of(draw)
    users, times = [], []
    for user in range(USERS):
        # A viewer's undated events come first; few distinct hours make ties likely, across viewers too.
        hours = sorted(draw(st.lists(st.none() | st.integers(0, 6), max_size=25)), key=lambda h: (h is not None, h))
        users += [user] * len(hours)
        times += [NO_TIME if hour is None else START + hour * HOUR for hour in hours]
    n = len(users)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = rng.integers(0, len(EVENT_KINDS), n).astype(np.int8)
    events = Events(
        user=np.array(users, dtype=np.int32),
        item=rng.integers(0, ITEM_COUNT, n).astype(np.int32),
        kind=kinds,
        value=rng.choice([-3.0, 0.0, 1.0, 4.0, 20.0, 5000.0], n).astype(np.float32),
        weight=rng.choice([-4.0, 0.0, 0.5, 1.0], n).astype(np.float32),
        positive=rng.random(n) < 0.5,
        time=np.array(times, dtype=np.int64),
        n_users=USERS,
        n_items=ITEM_COUNT,
    )
    return catalog, events, rows_of(rng, events, ordered=draw(st.booleans()))


def rows_of(rng: np.random.Generator, events: Events, *, ordered: bool) -> FeatureRows:
    """Eight moments of up to four candidates each; where the clock is order only no moment has a time."""
    moments, counts = 8, rng.integers(1, 5, 8)
    user = rng.integers(0, USERS, moments).astype(np.int32)
    lengths = np.diff(events.offsets())[user]
    now = START + rng.integers(-1, 9, moments) * HOUR
    return FeatureRows(
        user=np.repeat(user, counts),
        item=rng.integers(0, ITEM_COUNT, counts.sum()).astype(np.int32),
        position=np.repeat((rng.random(moments) * (lengths + 1)).astype(np.int64), counts),
        now=np.repeat(np.full(moments, NO_TIME) if ordered else now, counts),
    )


def query_at(now: int) -> Query:
    nothing = np.empty(0, dtype=np.int32)
    return Query(
        user_id="someone",
        items=nothing,
        times=np.empty(0, dtype=np.int64),
        kinds=np.empty(0, dtype=np.int8),
        values=np.empty(0, dtype=np.float32),
        positives=np.empty(0, dtype=bool),
        exclude=nothing,
        now=now,
    )


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds())
def test_as_of_equals_the_fold_of_update(name: str, world: tuple[Catalog, Events, FeatureRows]) -> None:
    catalog, events, rows = world
    feature = Feature.variants[name]()

    got = feature.as_of(events, catalog, rows)

    assert got.dtype == np.float32
    assert got.shape == (len(rows), len(feature.columns))
    assert np.isfinite(got).all()
    for row in range(len(rows)):
        state = feature.start(catalog)
        now = int(rows.now[row])
        seen = visible(events, type(feature), int(rows.user[row]), int(rows.position[row]), now)
        for event in events_of(events, seen):
            feature.update(state, event)
        expected = feature.read(state, query_at(now), rows.item[row : row + 1])[0]
        np.testing.assert_allclose(got[row], expected, rtol=1e-4, atol=1e-5, err_msg=str(feature.columns))


@pytest.mark.parametrize("name", [name for name in NAMES if Feature.variants[name].scope == "item"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds())
def test_the_stored_state_is_the_fold(name: str, world: tuple[Catalog, Events, FeatureRows]) -> None:
    catalog, events, _ = world
    feature = Feature.variants[name]()
    state = feature.start(catalog)
    for event in events_of(events, fold_order(events)):
        feature.update(state, event)

    quick = feature.fold(events, catalog)

    assert quick.keys() == state.keys()
    for key, array in state.items():
        np.testing.assert_allclose(quick[key], array, rtol=1e-9, atol=1e-9, err_msg=key)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds())
def test_the_future_changes_nothing(name: str, world: tuple[Catalog, Events, FeatureRows]) -> None:
    """Dropping everything that a moment may not see leaves its row as it was: no label can leak."""
    catalog, events, rows = world
    feature = Feature.variants[name]()
    row = FeatureRows(rows.user[:1], rows.item[:1], rows.position[:1], rows.now[:1])
    seen = visible(events, type(feature), int(row.user[0]), int(row.position[0]), int(row.now[0]))
    mine = (events.user == row.user[0]) & (np.arange(len(events)) - events.offsets()[events.user] < row.position[0])
    if feature.scope == "item":
        known = np.sort(seen)
        cut = FeatureRows(row.user, row.item, np.zeros(1, dtype=np.int64), row.now)
    else:
        known = np.flatnonzero(mine)
        cut = row

    before = feature.as_of(events.take(known), catalog, cut)

    # Lateness counts a viewer's earlier events, all of which an item feature sees if it sees the later one.
    np.testing.assert_allclose(before, feature.as_of(events, catalog, row), rtol=1e-4, atol=1e-5)
