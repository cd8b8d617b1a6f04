"""Windows on logs that can be read with the eye."""

from __future__ import annotations

import numpy as np
import pytest

from foveate.core.errors import ConfigError, DataError
from foveate.core.messages import NO_TIME
from foveate.data.events import Events
from foveate.data.split import SplitConfig, Stage, cuts, windows

DAY = 86_400_000_000
HOUR = DAY // 24


def log(*viewers: str, times: list[int] | None = None) -> Events:
    """Write one text a viewer: a letter is an item, capital where the viewer liked it."""
    rows = [
        (user, "abcdefgh".index(item.lower()), item.isupper()) for user, text in enumerate(viewers) for item in text
    ]
    user, item, liked = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    return Events(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        kind=np.zeros(n, dtype=np.int8),
        value=np.ones(n, dtype=np.float32),
        weight=np.ones(n, dtype=np.float32),
        positive=liked.astype(bool),
        time=np.array(times if times is not None else [NO_TIME] * n, dtype=np.int64),
        n_users=len(viewers),
        n_items=8,
    )


def seen(stage: Stage) -> list[str]:
    history = stage.history
    letters = [["abcdefgh"[i], "ABCDEFGH"[i]][int(p)] for i, p in zip(history.item, history.positive, strict=True)]
    out = [""] * history.n_users
    for user, letter in zip(history.user, letters, strict=True):
        out[user] += letter
    return out


def wanted(stage: Stage) -> list[str]:
    return ["".join("ABCDEFGH"[i] for i in stage.targets.of(user)) for user in range(stage.history.n_users)]


def test_leave_one_out_takes_the_last_three_backwards() -> None:
    cut = windows(log("ABCDE"), "leave-one-out")
    assert [(stage.name, *seen(stage), *wanted(stage)) for stage in cut] == [
        ("ranker", "AB", "C"),
        ("selection", "ABC", "D"),
        ("test", "ABCD", "E"),
    ]
    assert all(stage.now == NO_TIME for stage in cut)


def test_short_viewers_take_part_in_fewer_stages() -> None:
    cut = windows(log("ABCDE", "ABC", "AB", "A"), "leave-one-out")
    assert wanted(cut.test) == ["E", "C", "B", ""]
    assert wanted(cut.selection) == ["D", "B", "", ""]
    assert wanted(cut.ranker) == ["C", "", "", ""]
    # No stage sees a later stage's target of a viewer who sits it out.
    assert seen(cut.test) == ["ABCD", "AB", "A", "A"]
    assert seen(cut.selection) == ["ABC", "A", "A", "A"]
    assert seen(cut.ranker) == ["AB", "A", "A", "A"]


def test_an_item_met_before_is_no_target() -> None:
    cut = windows(log("ABCDEAE", "ABCDE"), "leave-one-out")
    assert wanted(cut.test) == ["E", "E"]
    assert seen(cut.test)[0] == "ABCD"  # what came after the target stays out as well
    met_first = windows(log("ABCDxE".replace("x", "e"), "ABCDE"), "leave-one-out")
    assert wanted(met_first.test) == ["E", "E"]  # e and then E are one meeting
    assert seen(met_first.test)[0] == "ABCD"
    long_ago = windows(log("ABeCDE", "ABCDE"), "leave-one-out")
    assert wanted(long_ago.test) == ["D", "E"]


def test_what_was_not_liked_is_history_but_no_target() -> None:
    cut = windows(log("ABfCgDEh"), "leave-one-out")
    assert [wanted(stage)[0] for stage in cut] == ["C", "D", "E"]
    assert [seen(stage)[0] for stage in cut] == ["ABf", "ABfCg", "ABfCgD"]


def test_time_cuts_everyone_at_the_same_moment() -> None:
    # The log ends at 20:30 of day 10; the last full hour closes its days.
    end = 10 * DAY + 21 * HOUR
    ages = [6.0, 3.5, 1.5, 0.5, 4.5, 2.5, 0.25]
    times = [end - int(age * DAY) for age in ages]
    times[3] = end - HOUR // 2
    cut = windows(log("ABCD", "EFA", times=times), "time")
    assert (cut.ranker.now, cut.selection.now, cut.test.now) == (end - 4 * DAY, end - 2 * DAY, end - DAY)
    assert cut.test.until == end
    assert wanted(cut.ranker) == ["B", "F"]
    assert wanted(cut.selection) == ["C", ""]
    assert wanted(cut.test) == ["D", "A"]
    assert seen(cut.ranker) == ["A", "E"]
    assert seen(cut.test) == ["ABC", "EF"]


def test_undated_events_belong_to_the_encoder_and_count_as_seen() -> None:
    end = 10 * DAY
    times = [NO_TIME, end - 5 * DAY, end - 3 * DAY, end - 3 * DAY + 1, end - 2 * DAY + 1, end - 1]
    cut = windows(log("AbCADE", times=times), "time")
    assert [wanted(stage)[0] for stage in cut] == ["C", "D", "E"]
    assert seen(cut.ranker) == ["Ab"]


def test_a_target_stands_once_however_often_it_was_liked() -> None:
    end = 10 * DAY
    times = [end - 5 * DAY, end - 3 * DAY, end - 3 * DAY + 5, end - DAY - 1, end - 9, end - 1, end - 1]
    cut = windows(log("ABBCDDE", times=times), "time")
    assert wanted(cut.ranker) == ["B"]
    assert wanted(cut.test) == ["DE"]
    assert cut.test.targets.first().tolist() == [3]
    assert cut.test.targets.times.tolist() == [end - 9, end - 1]


def test_long_logs_are_cut_by_shares() -> None:
    times = np.arange(1000, dtype=np.int64) * DAY
    edges = cuts(times, SplitConfig(ranker_share=0.2))
    assert [edge // DAY for edge in edges[:3]] == [600, 800, 900]
    assert cuts(times, SplitConfig(by="days"))[2] == 999 * DAY + HOUR - DAY
    short = cuts(times[:10], SplitConfig())
    assert short == cuts(times[:10], SplitConfig(by="days"))


def test_min_history_leaves_cold_viewers_out() -> None:
    end = 10 * DAY
    ages = [5 * DAY, 3 * DAY, DAY + 9, 9, 3 * DAY + 1, 8]
    events = log("ABCD", "BD", times=[end - age for age in ages])
    assert wanted(windows(events, "time").ranker) == ["B", "B"]
    assert wanted(windows(events, "time", SplitConfig(min_history=1)).ranker) == ["B", ""]


def test_logs_that_cannot_be_cut_say_so() -> None:
    with pytest.raises(DataError, match="no times"):
        windows(log("ABCDE"), "time")
    with pytest.raises(DataError, match="no target for 'ranker'"):
        windows(log("ABC"), "leave-one-out")
    with pytest.raises(ConfigError, match="sum to less than 1"):
        SplitConfig(test_share=0.9)
    with pytest.raises(ConfigError, match="above 0"):
        SplitConfig(test_days=0)
