"""The trend of an item, worked by hand: it decays from event to event, and up to the moment that is asked about."""

from __future__ import annotations

import numpy as np
import pytest

from checkerboard import two_colours
from foveate.core.messages import NO_TIME, Query
from foveate.features.core import Event
from foveate.features.defs.item_trend import ItemTrend

HOUR = 3_600_000_000
START = 1_650_000_000_000_000


def query(now: int) -> Query:
    nothing = np.empty(0, dtype=np.int32)
    return Query("u", nothing, nothing, nothing, nothing, nothing, nothing, now)  # type: ignore[arg-type] # not read


def event(item: int, hour: float | None, *, positive: bool = True) -> Event:
    time = NO_TIME if hour is None else START + round(hour * HOUR)
    return Event(0, item, 0, 1.0, 1.0, positive, time, 0)


def trend(now: int, items: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    feature = ItemTrend()
    state = feature.start(two_colours(3))
    for one in (
        event(0, 0),
        event(1, 7, positive=False),
        event(1, None),
        event(0, 24),
        event(2, 30),
    ):
        feature.update(state, one)
    return feature.read(state, query(now), np.array(items, dtype=np.int32))


def test_a_trend_decays_by_half_lives_of_a_day_three_days_and_a_month() -> None:
    found = trend(START + 48 * HOUR)
    assert found.dtype == np.float32
    day = (0.5 + 1) * 0.5
    three = (2 ** (-1 / 3) + 1) * 2 ** (-1 / 3)
    month = (2 ** (-24 / 720) + 1) * 2 ** (-24 / 720)
    rise = np.log1p(day) - np.log1p(month / 30)
    np.testing.assert_allclose(found[0], [*np.log1p([day, three, month]), rise, np.log1p(24)], rtol=1e-6)
    day, three, month = (2 ** (-18 / hours) for hours in (24, 72, 720))
    rise = np.log1p(day) - np.log1p(month / 30)
    np.testing.assert_allclose(found[2], [*np.log1p([day, three, month]), rise, np.log1p(18)], rtol=1e-6)


@pytest.mark.parametrize(("now", "items"), [(START + 48 * HOUR, (1,)), (NO_TIME, (0, 1, 2))])
def test_without_a_time_or_a_positive_event_there_is_no_trend(now: int, items: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(trend(now, items), [[0, 0, 0, 0, -1]] * len(items))


def test_a_moment_before_the_last_event_counts_as_that_event() -> None:
    np.testing.assert_array_equal(trend(START + 20 * HOUR, (2,)), trend(START + 30 * HOUR, (2,)))
    assert trend(START + 20 * HOUR, (2,))[0, 4] == 0
