"""Labels: what came of a candidate, kind by kind, and nothing that lies outside its window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.core.messages import NO_TIME
from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS
from foveate.data.split import SplitConfig, Stage, windows
from foveate.ranking.labels import LIKED, Labels, watch_quantiles
from foveate.recommend.recipe import Recipe
from foveate.training.examples import followed

DAY = 86_400_000_000
Row = tuple[int, int, str, float, int]


def log_of(rows: list[Row], users: int, items: int) -> Events:
    """Events of (viewer, item, kind, value, time), viewer after viewer and oldest first."""
    kinds = [EVENT_KINDS.index(kind) for _, _, kind, _, _ in rows]
    return Events(
        user=np.array([row[0] for row in rows], dtype=np.int32),
        item=np.array([row[1] for row in rows], dtype=np.int32),
        kind=np.array(kinds, dtype=np.int8),
        value=np.array([row[3] for row in rows], dtype=np.float32),
        weight=np.ones(len(rows), dtype=np.float32),
        positive=np.array([row[2] == "long_view" for row in rows]),
        time=np.array([row[4] for row in rows], dtype=np.int64),
        n_users=users,
        n_items=items,
    )


def stage_of(events: Events, now: int, until: int, kinds: tuple[str, ...]) -> Stage:
    """A window from ``now`` to ``until`` with what was done in it; its targets are not asked for."""
    nobody = windows(
        log_of([(0, item, "long_view", 1, day * DAY) for day, item in enumerate(range(5))], 1, 9),
        "time",
        SplitConfig(by="days", ranker_days=1, selection_days=1, test_days=1),
    ).ranker
    stage = Stage("ranker", events.take(events.time < now), nobody.targets, now, until)
    return replace(stage, after=followed(events, stage, kinds))


def test_each_kind_comes_to_what_the_config_says() -> None:
    rows: list[Row] = [
        (0, 1, "click", 1, 5),
        *((0, 2, kind, 1, 12) for kind in ("click", "long_view", "share")),
        (0, 3, "rate", 5, 13),
        (0, 4, "rate", 1, 14),
        (0, 5, "rate", 5, 15),
        (0, 5, "rate", 3, 16),
        *((0, 6, kind, 1, 17) for kind in ("hide", "click")),
        (0, 7, "share", 1, 20),
        (1, 1, "click", 1, 11),
    ]
    labels = Labels({"click": 0.5, "long_view": 1.0, "share": 3.0, "rate": 2.0, "hide": -4.0, "like": 0.0})
    assert labels.kinds == ("click", "long_view", "share", "rate", "hide")
    stage = stage_of(log_of(rows, 2, 9), 10, 20, labels.kinds)
    read = labels.of(stage, np.full(9, np.nan, dtype=np.float32))
    items = np.arange(9, dtype=np.int32)
    told = read.total(read.signals(0, items))
    # What lies before the cut (item 1) or after the window (item 7) labels nothing; of two ratings the last counts.
    assert told.tolist() == [0, 0, 4.5, 2, -2, 0, -3.5, 0, 0]
    assert read.total(read.signals(1, items)).tolist() == [0, 0.5, 0, 0, 0, 0, 0, 0, 0]


def test_a_watch_is_compared_with_watches_of_videos_of_like_length() -> None:
    rng = np.random.default_rng(0)
    length = rng.uniform(10, 1000, 5000)
    # Everyone watches a share that has nothing to do with length: seconds grow with length, the quantile must not.
    share = rng.random(5000)
    seconds = share * length
    told = watch_quantiles(seconds, length, 20)
    assert told.min() >= 0
    assert told.max() <= 1
    assert abs(np.corrcoef(told, length)[0, 1]) < 0.05
    assert np.corrcoef(seconds, length)[0, 1] > 0.5
    assert np.corrcoef(told, share)[0, 1] > 0.97
    within = [np.abs(told[(length >= low) & (length < low + 200)].mean() - 0.5) for low in (100, 400, 700)]
    assert max(within) < 0.05


def test_few_watches_make_few_classes_and_equal_ones_tie() -> None:
    seconds, length = np.array([1.0, 3.0, 3.0, 8.0]), np.array([10.0, 20.0, 3000.0, np.nan])
    np.testing.assert_allclose(watch_quantiles(seconds, length, 20), [1 / 6, 4 / 6, 4 / 6, 0.5])
    assert watch_quantiles(np.empty(0), np.empty(0), 20).shape == (0,)


def test_the_longest_of_several_watches_counts() -> None:
    rows: list[Row] = [(0, 1, "watch", 2, 11), (0, 1, "watch", 9, 12), (0, 1, "watch", 1, 13), (0, 2, "watch", 5, 14)]
    labels = Labels({"watch": 1.0})
    stage = stage_of(log_of(rows, 1, 9), 10, 20, labels.kinds)
    read = labels.of(stage, np.full(9, 60, dtype=np.float32))
    told = read.signals(0, np.array([1, 2], dtype=np.int32))["watch"]
    np.testing.assert_allclose(told, [7 / 8, 5 / 8])


def test_of_several_events_of_a_kind_the_last_counts_and_of_watches_the_longest_by_quantile() -> None:
    rows: list[Row] = [
        # A longer watch in seconds of a video four times as long is the shorter one of its class.
        (0, 1, "watch", 9, 11),
        (0, 1, "watch", 3, 12),
        (0, 1, "rate", 5, 13),
        (0, 1, "rate", 2, 14),
        (0, 2, "watch", 1, 15),
        (1, 1, "watch", 4, 16),
        (1, 1, "rate", 2, 17),
        (1, 1, "rate", 5, 18),
    ]
    labels = Labels({"watch": 1.0, "rate": 1.0})
    events = log_of(rows, 2, 3)
    read = labels.of(stage_of(events, 10, 20, labels.kinds), np.full(3, 60, dtype=np.float32))
    items = np.arange(3, dtype=np.int32)
    np.testing.assert_allclose(read.signals(0, items)["watch"], [0, 7 / 8, 1 / 8])
    np.testing.assert_allclose(read.signals(1, items)["watch"], [0, 5 / 8, 0])
    last = {user: read.signals(user, items)["rate"].tolist() for user in (0, 1)}
    assert last[0] == [0, pytest.approx((2 - labels.neutral_stars) / (labels.best_stars - labels.neutral_stars)), 0]
    assert last[1] == [0, 1, 0]
    # Of each item's own viewer, as for one viewer after the other.
    both = read.signals(np.array([0, 1, 1], dtype=np.int32), np.array([1, 1, 2], dtype=np.int32))
    np.testing.assert_allclose(both["watch"], [7 / 8, 5 / 8, 0])
    assert both["watch"].dtype == both["rate"].dtype == np.float32


def test_by_order_a_window_is_the_next_meeting_and_nothing_later() -> None:
    meeting = ("watch", "click", "long_view", "like")
    rows: list[Row] = []
    for user in range(3):
        for item in range(5):
            rows += [(user, (item + user) % 7, kind, 1, NO_TIME) for kind in meeting]
        rows += [(user, (4 + user) % 7, "hide", 1, NO_TIME)]
    events = log_of(rows, 4, 7)
    cut = windows(events, "leave-one-out", SplitConfig())
    for stage, place in ((cut.ranker, 2), (cut.selection, 3), (cut.test, 4)):
        after = followed(events, stage, ("click", "like", "hide"))
        per_user = [after.item[after.user == user].tolist() for user in range(4)]
        kinds = 3 if stage is cut.test else 2
        assert per_user == [[(place + user) % 7] * kinds for user in range(3)] + [[]]


def test_without_weights_a_label_is_what_counts_as_interest() -> None:
    rows: list[Row] = [(0, item, "long_view", 1, day * DAY) for day, item in enumerate(range(5))]
    stage = windows(
        log_of(rows, 1, 5), "time", SplitConfig(by="days", ranker_days=1, selection_days=1, test_days=1)
    ).selection
    read = Labels().of(stage, np.full(5, np.nan, dtype=np.float32))
    signals = read.signals(0, np.arange(5, dtype=np.int32))
    assert list(signals) == [LIKED]
    assert np.flatnonzero(read.total(signals)).tolist() == stage.targets.of(0).tolist()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"weights": {"clik": 1}}, "unknown event kind 'clik'"),
        ({"weights": {"hide": -1}}, "no kind weighs more than 0"),
        ({"weights": {"click": float("inf")}}, "finite"),
        ({"duration_buckets": 0}, "duration_buckets"),
        ({"neutral_stars": 5}, "best_stars"),
    ],
)
def test_impossible_labels_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        from_dict(Recipe, {"labels": settings})
