"""What a dataset's description says of shortcuts, on logs whose answer is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from foveate.data.describe import Description, describe
from foveate.data.importing.import_dataset import import_tables

START = datetime(2026, 1, 1, tzinfo=UTC)


def described(rows: list[tuple[str, str, float]], folder: Path) -> Description:
    """Describe rows of viewer, item and day; without a day the log has no times."""
    frame = pl.DataFrame(
        {
            "user_id": [user for user, _, _ in rows],
            "item_id": [item for _, item, _ in rows],
            "timestamp": [START + timedelta(days=day) for _, _, day in rows],
        }
    )
    return describe(import_tables(frame, folder / "data"))


def test_what_always_follows_is_predictable(tmp_path: Path) -> None:
    rows = [(f"u{user}", f"i{(user + step) % 6}", step / 10) for user in range(30) for step in range(5)]
    assert described(rows, tmp_path).predictable == 1.0


def test_a_step_of_one_viewer_alone_predicts_nothing(tmp_path: Path) -> None:
    rows = [(f"u{user}", f"i{user}-{step}", step / 10) for user in range(20) for step in range(3)]
    assert described(rows, tmp_path).predictable == 0.0


def test_the_eleventh_follower_is_not_among_ten(tmp_path: Path) -> None:
    """Ten items follow the hub three times each; an eleventh follows it for two viewers, for whom it is the newest."""
    often = [
        (f"u{item}-{time}", name, day)
        for item in range(10)
        for time in range(3)
        for name, day in (("hub", 0.0), (f"i{item}", 1.0))
    ]
    rare = [(f"rare{time}", name, day) for time in range(2) for name, day in (("hub", 0.0), ("rare", 1.0))]
    # Of an often one two others took the same step, and ten of its rivals are not above that.
    assert described(often + rare, tmp_path).predictable == pytest.approx(30 / 32)


def test_last_weeks_favourites_are_counted_in_the_week_after(tmp_path: Path) -> None:
    before = [(f"u{user}", f"hit{hit}", 0.5) for hit in range(100) for user in range(2)]
    before += [("u0", "miss", 0.6), ("u1", "long ago", -1.0)]
    after = [("v0", "hit7", 7.6), ("v0", "hit99", 7.7), ("v0", "miss", 8.0), ("v1", "new", 13.5)]
    found = described(before + after, tmp_path)
    assert found.popular == pytest.approx(2 / 4)
    assert found.tied is not None
    assert found.tied > 0


def test_of_a_log_shorter_than_two_weeks_nothing_is_said_of_the_last_one(tmp_path: Path) -> None:
    rows = [(f"u{user}", item, day) for user in range(9) for item, day in (("x", 0.0), ("y", 7.5), ("z", 13.9))]
    assert described(rows, tmp_path).popular is None


def test_without_times_nothing_is_said_of_a_week(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["x", "y", "x"]})
    found = describe(import_tables(frame, tmp_path / "data"))
    assert (found.popular, found.tied) == (None, None)
    assert found.predictable == 0.0
