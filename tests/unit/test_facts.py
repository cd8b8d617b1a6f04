"""What histories tell of each interaction: as it was known by the next one, and alike in training and serving."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foveate.bundle import Bundle, default_state
from foveate.core.messages import NO_TIME, Filters
from foveate.data.dataset import Dataset
from foveate.data.events import Events, Histories
from foveate.data.queries import events_of, queries_of
from foveate.data.schema import EVENT_KINDS
from foveate.state.sqlite.store import SqliteState

DURATION = np.array([10.0, 100.0, np.nan, 50.0, 0.0], dtype=np.float32)
POSITIVE = ("click", "long_view")


def events(*rows: tuple[int, str, int, float]) -> Events:
    """Events of ``(user, kind, item, value)``, oldest first for each user."""
    user, kind, item, value = zip(*rows, strict=True)
    return Events(
        user=np.array(user, dtype=np.int32),
        item=np.array(item, dtype=np.int32),
        kind=np.array([EVENT_KINDS.index(name) for name in kind], dtype=np.int8),
        value=np.array(value, dtype=np.float32),
        weight=np.ones(len(rows), dtype=np.float32),
        positive=np.array([name in POSITIVE for name in kind]),
        time=np.full(len(rows), NO_TIME),
        n_users=max(user) + 1,
        n_items=len(DURATION),
    )


def facts(*rows: tuple[str, int, float]) -> tuple[list[str], list[float], list[bool]]:
    """Kinds, watched shares (-1 where unknown) and likes of one viewer's positive events."""
    known = events(*((0, *row) for row in rows)).histories(DURATION).facts
    assert known is not None
    return (
        [EVENT_KINDS[kind] for kind in known.kinds],
        np.nan_to_num(known.watched, nan=-1).round(3).tolist(),
        known.liked.tolist(),
    )


def test_the_watch_before_and_the_like_after_are_told() -> None:
    rows = [("watch", 0, 5.0), ("long_view", 0, 1.0), ("like", 0, 1.0), ("watch", 1, 25.0), ("click", 1, 1.0)]
    assert facts(*rows) == (["long_view", "click"], [0.5, 0.25], [True, False])


def test_a_watch_that_follows_the_click_is_told_too() -> None:
    assert facts(("click", 1, 1.0), ("watch", 1, 50.0), ("click", 0, 1.0))[1] == [0.5, -1.0]


def test_what_comes_after_the_next_one_is_not_told() -> None:
    rows = [("click", 0, 1.0), ("click", 1, 1.0), ("like", 0, 1.0), ("watch", 0, 10.0)]
    assert facts(*rows) == (["click", "click"], [-1.0, -1.0], [False, False])


def test_the_newest_watch_counts_and_a_like_is_kept() -> None:
    rows = [("watch", 0, 2.0), ("click", 0, 1.0), ("like", 0, 1.0), ("watch", 0, 30.0), ("click", 0, 1.0)]
    assert facts(*rows)[1:] == ([3.0, 3.0], [True, True])


@pytest.mark.parametrize(("item", "seconds"), [(2, 5.0), (4, 5.0), (0, -1.0), (0, float("nan"))])
def test_without_seconds_or_a_length_the_share_is_unknown(item: int, seconds: float) -> None:
    assert facts(("watch", item, seconds), ("click", item, 1.0))[1] == [-1.0]


def test_other_viewers_tell_nothing() -> None:
    log = events((0, "click", 0, 1.0), (1, "watch", 0, 5.0), (1, "like", 0, 1.0), (1, "watch", 1, 9.0))
    known = log.histories(DURATION).facts
    assert known is not None
    assert np.isnan(known.watched).all()
    assert not known.liked.any()


def test_no_event_gives_no_fact() -> None:
    nothing = events((0, "watch", 0, 5.0)).histories(DURATION)
    assert len(nothing.items) == 0
    assert nothing.facts is not None
    assert len(nothing.facts.watched) == 0


def made_up(seed: int) -> Events:
    rng = np.random.default_rng(seed)
    kinds = ("watch", "click", "long_view", "like", "hide")
    rows = [
        (user, str(rng.choice(kinds)), int(rng.integers(0, 3)), float(rng.integers(1, 60)))
        for user in range(4)
        for _ in range(rng.integers(0, 25))
    ]
    return events(*rows, (4, "click", 0, 1.0))


@pytest.mark.parametrize("seed", range(8))
def test_a_log_cut_before_the_next_one_tells_the_same(seed: int) -> None:
    log = made_up(seed)
    whole = log.histories(DURATION)
    for user in range(log.n_users):
        mine = np.flatnonzero(log.user == user)
        positions = mine[log.positive[mine]]
        for rank, following in enumerate(positions[1:]):
            cut = log.take(np.arange(len(log)) < following).histories(DURATION)
            assert told(cut, user, rank) == told(whole, user, rank)


@pytest.mark.parametrize("seed", range(4))
def test_a_query_tells_what_the_log_tells(seed: int, checkerboard: Any) -> None:
    log = made_up(seed)
    users = np.arange(log.n_users, dtype=np.int32)
    queries = queries_of(log, users, checkerboard.catalog, NO_TIME)
    equal(events_of(queries, log.n_items).histories(DURATION), log.histories(DURATION))


def test_a_served_history_tells_what_training_was_told(small_bundle: Bundle, small_world: Dataset) -> None:
    model, catalog = small_bundle.model, small_world.catalog()
    users = small_world.users()
    log = small_world.log().encode(users, catalog.items, model.recipe.signals, model.positive_kinds)
    trained = log.histories(catalog.duration)
    some = np.arange(0, len(users), 17)
    with SqliteState(default_state(small_bundle.path)) as state:
        viewers = [state.history(users.ids[user]) for user in some]
    queries = [model.query(viewer, Filters(), NO_TIME) for viewer in viewers]
    served = events_of(queries, len(model.catalog)).histories(model.catalog.duration)
    assert np.isfinite(served.facts.watched).any()
    assert served.facts.liked.any()
    equal(served, trained.take(some))


def told(histories: Histories, user: int, rank: int) -> tuple[int, str, bool]:
    row = histories.rows(user).start + rank
    assert histories.facts is not None
    return int(histories.facts.kinds[row]), str(histories.facts.watched[row]), bool(histories.facts.liked[row])


def equal(one: Histories, other: Histories) -> None:
    assert one.facts is not None
    assert other.facts is not None
    for name in ("offsets", "items", "times"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("kinds", "watched", "liked"):
        np.testing.assert_array_equal(getattr(one.facts, name), getattr(other.facts, name))
