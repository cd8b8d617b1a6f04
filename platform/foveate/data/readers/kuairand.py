"""KuaiRand (Pure, 1K, 27K): short-video impressions with watch time and every feedback signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import polars as pl

from foveate.core.errors import ReaderError
from foveate.data.importing.contacts import DURATION, SHOWN
from foveate.data.raw.files import need
from foveate.data.raw.open_table import open_table
from foveate.data.raw.table import frame_table
from foveate.data.readers.base import NO_ITEMS, NO_VIEWERS, SAME_MOMENT, ItemTable, LogFile, Reader, Source, viewers_of
from foveate.data.readers.convert import Column, RowErrors, convert_table, expect_columns
from foveate.data.schema import ITEM_ID, LONG_VIEW, OCCURRED_AT, USER_ID, WATCH, as_items
from foveate.data.values.numbers import Flag, Seconds
from foveate.data.values.text import Id, Text, Words
from foveate.data.values.times import Time

RANDOM_POLICY = "random-exposure"
"""The policy of the rows whose video was drawn at random."""

_FLAGS = {
    "click": "is_click",
    "long_view": "long_view",
    "like": "is_like",
    "comment": "is_comment",
    "follow": "is_follow",
    "share": "is_forward",
    "hide": "is_hate",
}
_RANDOM: Final = "is_rand"
_MILLISECONDS: Final = Seconds(0.001)
_LOG: Final = (
    Column(USER_ID, "user_id", Id()),
    Column(ITEM_ID, "video_id", Id()),
    Column(OCCURRED_AT, "time_ms", Time("ms", about="milliseconds since 1970")),
    Column("surface", "tab", Text()),
    Column(_RANDOM, "is_rand", Flag()),
    Column(DURATION, "duration_ms", _MILLISECONDS),
    Column(WATCH, "play_time_ms", _MILLISECONDS),
    *(Column(kind, flag, Flag()) for kind, flag in _FLAGS.items()),
)
_TYPES: Final[dict[str, pl.DataType]] = {
    **dict.fromkeys((*_FLAGS.values(), _RANDOM), pl.Int8()),
    **dict.fromkeys(("time_ms", "play_time_ms", "duration_ms"), pl.Int64()),
}
_VIDEOS: Final = (
    Column(ITEM_ID, "video_id", Id()),
    Column("channel_id", "author_id", Text()),
    Column("tags", "tag", Words(",")),
    Column("duration_seconds", "video_duration", _MILLISECONDS),
    Column("published_at", "upload_dt", Time()),
)
_HISTORY: Final = (
    Column(USER_ID, USER_ID, Id()),
    Column(ITEM_ID, ITEM_ID, Id()),
    Column(WATCH, WATCH, Flag()),
    Column("like", "like", Flag()),
    Column(LONG_VIEW, LONG_VIEW, Flag()),
)


@dataclass(frozen=True)
class KuaiRandReader(Reader):
    """Reads every ``log_standard_*.csv`` and ``log_random_*.csv`` of a folder, and the features beside them.

    A ``histories_*.parquet`` beside the log becomes events without a time, before every dated one.
    """

    name: ClassVar[str] = "kuairand"

    @classmethod
    def fits(cls, root: Path) -> bool:
        return bool(_logs(root))

    def read(self, root: Path) -> Source:
        logs = _logs(need(root))
        if not logs:
            raise ReaderError(f"'{root}' holds no log_standard_*.csv; name the folder of a KuaiRand release")
        folder = logs[0].parent
        histories = sorted(folder.glob("histories_*.parquet"))
        viewers = [open_table(file) for file in sorted(folder.glob("user_features_*.csv"))]
        errors = self.errors()
        return Source(
            (*map(_history, histories), *map(_log, logs)),
            (LONG_VIEW,),
            errors,
            _items(sorted(folder.glob("video_features_basic_*.csv")), errors),
            pl.concat(viewers_of(table, "user_id") for table in viewers) if viewers else NO_VIEWERS,
            SAME_MOMENT,
        )


def _logs(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.name.startswith(("log_standard_", "log_random_")) else []
    return sorted([*root.glob("log_standard_*.csv"), *root.glob("log_random_*.csv")])


def _log(path: Path) -> LogFile:
    table = open_table(path, types=_TYPES)
    expect_columns(table.name, table.schema, [column.theirs for column in _LOG])
    return LogFile(table, _LOG, _contacts)


def _contacts(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.lit(value=True).alias(SHOWN),
        pl.when(_RANDOM).then(pl.lit(RANDOM_POLICY)).alias("policy_id"),
        pl.when(pl.col(WATCH) != 0).then(WATCH).alias(WATCH),
    ).drop(_RANDOM)


def _items(files: Sequence[Path], errors: RowErrors) -> ItemTable:
    frames = []
    for table in map(open_table, files):
        expect_columns(table.name, table.schema, [column.theirs for column in _VIDEOS])
        frames.append(convert_table(table, _VIDEOS, errors))
    if not frames:
        return NO_ITEMS
    videos = pl.concat(frames).with_columns(pl.col("tags").fill_null([]))
    categories = pl.col("tags").list.head(1).alias("categories")
    return ItemTable(as_items(videos.with_columns(categories)), _VIDEOS)


def _history(path: Path) -> LogFile:
    """Merge each viewer's last watches, likes and long views into one order, oldest first."""
    columns = ("user_id", "watch_seq", "like_seq", "long_watch_seq")
    source = open_table(path)
    expect_columns(path.name, source.schema, columns)
    users: list[str] = []
    rows: list[tuple[int, bool, bool, bool]] = []
    for user, watched, liked, long_viewed in source.whole(columns).iter_rows():
        mine = _merge(watched, liked, long_viewed)
        users += [str(user)] * len(mine)
        rows += mine
    schema = {ITEM_ID: pl.Int64, WATCH: pl.Boolean, "like": pl.Boolean, LONG_VIEW: pl.Boolean}
    merged = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.Series(USER_ID, users, dtype=pl.String))
    return LogFile(frame_table(merged, path.name, "Parquet, a list a viewer, one row each here"), _HISTORY, _watches)


def _watches(frame: pl.DataFrame) -> pl.DataFrame:
    """Seconds are not known: the watch happened, and its length is not a number."""
    return frame.with_columns(pl.when(WATCH).then(float("nan")).cast(pl.Float32).alias(WATCH))


def _merge(watched: list[int], liked: list[int], long_viewed: list[int]) -> list[tuple[int, bool, bool, bool]]:
    likes, older_likes = _align(watched, liked)
    longs, older_longs = _align(watched, long_viewed)
    rows = [(item, False, True, False) for item in older_likes]
    rows += [(item, False, False, True) for item in older_longs]
    return rows + [(item, True, at in likes, at in longs) for at, item in enumerate(watched)]


def _align(watched: list[int], marked: list[int]) -> tuple[set[int], list[int]]:
    """Match the newest of ``marked`` with the watches they belong to; return these, and what is older than them."""
    slots: set[int] = set()
    left = len(marked)
    for at in range(len(watched) - 1, -1, -1):
        if left and watched[at] == marked[left - 1]:
            slots.add(at)
            left -= 1
    return slots, marked[:left]
