"""A log read in a stream is the log read whole, and what several processes read of it is what one would deal them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from foveate.core.errors import DataError, SchemaError
from foveate.data.dataset import Dataset
from foveate.data.events import Events, Histories
from foveate.data.importing.stream import LogPart, read_events
from foveate.data.schema import ITEM_ID, OCCURRED_AT, ORDER, USER_ID
from foveate.data.signals import Signals
from foveate.data.split import Protocol, windows
from foveate.data.vocabulary import Vocabulary
from foveate.data.worker_group import partition

SIGNALS = Signals(positive=("long_view",), weights={"long_view": 1.0, "like": 2.0})


def whole(dataset: Dataset, items: Vocabulary) -> Events:
    return dataset.log().encode(dataset.users(), items, SIGNALS)


def assert_same_events(one: Events, other: Events) -> None:
    for field in fields(Events):
        own, others = getattr(one, field.name), getattr(other, field.name)
        np.testing.assert_array_equal(own, others, err_msg=field.name)
        assert np.asarray(own).dtype == np.asarray(others).dtype, field.name


def assert_same_histories(one: Histories, other: Histories) -> None:
    for name in ("offsets", "items", "times", "weights"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.facts is not None
    assert other.facts is not None
    for name in ("kinds", "watched", "liked"):
        np.testing.assert_array_equal(getattr(one.facts, name), getattr(other.facts, name), err_msg=name)


def test_a_stream_brings_the_same_events(small_world: Dataset) -> None:
    items = small_world.catalog().items
    assert_same_events(read_events(small_world, items, SIGNALS), whole(small_world, items))


def test_rows_may_lie_in_any_order_and_name_items_that_nobody_knows(small_world: Dataset) -> None:
    some = Vocabulary(small_world.catalog().items.ids[::2])
    shuffled = small_world.events.collect().sample(fraction=1.0, shuffle=True, seed=3)
    mixed = replace(small_world, events=shuffled.lazy())
    assert_same_events(read_events(mixed, some, SIGNALS), whole(small_world, some))


@pytest.mark.parametrize("column", [USER_ID, ITEM_ID, ORDER])
def test_a_null_where_none_may_be_is_named(small_world: Dataset, column: str) -> None:
    seventh = pl.int_range(pl.len()) == 7
    holed = small_world.events.with_columns(pl.when(~seventh).then(column))
    with pytest.raises(SchemaError, match=f"column '{column}' is null in 1 of"):
        read_events(replace(small_world, events=holed), small_world.catalog().items, SIGNALS)


def test_a_log_of_which_nothing_counts_as_interest_is_refused(small_world: Dataset) -> None:
    with pytest.raises(DataError, match="no event kind counts as interest"):
        read_events(small_world, small_world.catalog().items, Signals(), ())


@pytest.mark.parametrize("protocol", ["time", "leave-one-out"])
def test_processes_read_what_one_that_read_all_would_deal_them(small_world: Dataset, protocol: Protocol) -> None:
    catalog = small_world.catalog()
    events = read_events(small_world, catalog.items, SIGNALS)
    stage = windows(events, protocol).selection
    part = LogPart.of(small_world, events, stage.history, SIGNALS, ())
    assert part is not None
    parts = partition(stage.history.histories(catalog.duration), 3)
    for piece, expected in enumerate(parts):
        assert_same_histories(part.histories(catalog, piece, 3), expected)
    all_of_it = LogPart.whole(small_world, SIGNALS).histories(catalog, 0, 1)
    assert_same_histories(all_of_it, events.histories(catalog.duration))


def test_what_cannot_be_read_again_is_dealt_out(small_world: Dataset, tmp_path: Path) -> None:
    catalog = small_world.catalog()
    events = read_events(small_world, catalog.items, SIGNALS)
    stage = windows(events, "time").selection
    assert LogPart.of(replace(small_world, path=None), events, stage.history, SIGNALS, ()) is None
    with pytest.raises(DataError, match="lies in no folder"):
        LogPart.whole(replace(small_world, path=None), SIGNALS)
    # Times that contradict the order: then what lies before a moment is no viewer's oldest events.
    turned = small_world.events.with_columns(pl.col(OCCURRED_AT).reverse().over(USER_ID))
    backwards = replace(small_world, events=turned, path=tmp_path)
    events = read_events(backwards, catalog.items, SIGNALS)
    history = windows(events, "time").selection.history
    assert LogPart.of(backwards, events, history, SIGNALS, ()) is None
