"""KuaiRand (Pure, 1K, 27K): short-video impressions with watch time and every feedback signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl

from foveate.data.contacts import DURATION, SHOWN
from foveate.data.readers.base import NO_VIEWERS, SAME_MOMENT, Reader, Source
from foveate.data.readers.raw import as_items, attributes, collect, epoch, header, need, scan_csv, scan_parquet, words
from foveate.data.schema import ITEM_ID, LONG_VIEW, OCCURRED_AT, USER_ID, WATCH
from foveate.errors import ReaderError

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
_LOG: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "video_id": pl.String(),
    "time_ms": pl.Int64(),
    **dict.fromkeys(_FLAGS.values(), pl.Int8()),
    "play_time_ms": pl.Int64(),
    "duration_ms": pl.Int64(),
    "is_rand": pl.Int8(),
    "tab": pl.String(),
}
_VIDEOS: dict[str, pl.DataType] = {
    "video_id": pl.String(),
    "author_id": pl.String(),
    "upload_dt": pl.String(),
    "video_duration": pl.Float64(),
    "tag": pl.String(),
}


@dataclass(frozen=True)
class KuaiRandReader(Reader):
    """Reads every ``log_standard_*.csv`` and ``log_random_*.csv`` of a folder, and the features beside them.

    A ``histories_*.parquet`` beside the log becomes events without a time, before every dated one.
    """

    name: ClassVar[str] = "kuairand"

    def read(self, root: Path) -> Source:
        """See :meth:`Reader.read`."""
        logs = (
            [root]
            if need(root).is_file()
            else sorted([*root.glob("log_standard_*.csv"), *root.glob("log_random_*.csv")])
        )
        if not logs:
            raise ReaderError(f"'{root}' holds no log_standard_*.csv; name the folder of a KuaiRand release")
        folder = logs[0].parent
        histories = sorted(folder.glob("histories_*.parquet"))
        return Source(
            (*map(_history, histories), *map(_contacts, logs)),
            (LONG_VIEW,),
            _items(sorted(folder.glob("video_features_basic_*.csv"))),
            _viewers(sorted(folder.glob("user_features_*.csv"))),
            SAME_MOMENT,
            files=(*histories, *logs),
        )


def _contacts(path: Path) -> pl.LazyFrame:
    played = pl.col("play_time_ms")
    return scan_csv(path, _LOG).select(
        pl.col("user_id").alias(USER_ID),
        pl.col("video_id").alias(ITEM_ID),
        epoch("time_ms", "ms").alias(OCCURRED_AT),
        pl.lit(True).alias(SHOWN),
        pl.col("tab").alias("surface"),
        pl.when(pl.col("is_rand") == 1).then(pl.lit(RANDOM_POLICY)).alias("policy_id"),
        (pl.col("duration_ms") / 1000).cast(pl.Float32).alias(DURATION),
        pl.when(played != 0).then(played / 1000).cast(pl.Float32).alias(WATCH),
        *((pl.col(flag) != 0).alias(kind) for kind, flag in _FLAGS.items()),
    )


def _items(files: Sequence[Path]) -> pl.DataFrame:
    frames = [collect(scan_csv(file, _VIDEOS), file.name) for file in files]
    videos = pl.concat(frames) if frames else pl.DataFrame(schema=_VIDEOS)
    tags = words("tag", ",")
    return as_items(
        videos.select(
            pl.col("video_id").alias(ITEM_ID),
            pl.col("author_id").alias("channel_id"),
            tags.list.head(1).alias("categories"),
            tags.alias("tags"),
            (pl.col("video_duration") / 1000).alias("duration_seconds"),
            pl.col("upload_dt")
            .str.to_datetime("%Y-%m-%d", time_unit="us", time_zone="UTC", strict=False)
            .alias("published_at"),
        )
    )


def _viewers(files: Sequence[Path]) -> pl.DataFrame:
    frames = []
    for file in files:
        columns = dict.fromkeys(header(file), pl.String())
        frames.append(attributes(collect(scan_csv(file, {"user_id": pl.String(), **columns}), file.name), "user_id"))
    return pl.concat(frames) if frames else NO_VIEWERS


def _history(path: Path) -> pl.LazyFrame:
    """Merge each viewer's last watches, likes and long views into one order, oldest first."""
    columns = ("user_id", "watch_seq", "like_seq", "long_watch_seq")
    frame = collect(scan_parquet(path).select(columns), path.name)
    users: list[str] = []
    rows: list[tuple[int, bool, bool, bool]] = []
    for user, watched, liked, long_viewed in frame.iter_rows():
        mine = _merge(watched, liked, long_viewed)
        users += [str(user)] * len(mine)
        rows += mine
    schema = {ITEM_ID: pl.Int64, WATCH: pl.Boolean, "like": pl.Boolean, LONG_VIEW: pl.Boolean}
    merged = pl.DataFrame(rows, schema=schema, orient="row")
    return merged.lazy().select(
        pl.Series(USER_ID, users, dtype=pl.String),
        pl.col(ITEM_ID).cast(pl.String),
        pl.when(WATCH).then(float("nan")).cast(pl.Float32).alias(WATCH),
        "like",
        LONG_VIEW,
    )


def _merge(watched: list[int], liked: list[int], long_viewed: list[int]) -> list[tuple[int, bool, bool, bool]]:
    likes, older_likes = _align(watched, liked)
    longs, older_longs = _align(watched, long_viewed)
    rows = [(item, False, True, False) for item in older_likes]
    rows += [(item, False, False, True) for item in older_longs]
    return rows + [(item, True, at in likes, at in longs) for at, item in enumerate(watched)]


def _align(watched: list[int], marked: list[int]) -> tuple[set[int], list[int]]:
    """Match the newest of ``marked`` with the watches they belong to; return these, and what is older than them."""
    places: set[int] = set()
    left = len(marked)
    for at in range(len(watched) - 1, -1, -1):
        if left and watched[at] == marked[left - 1]:
            places.add(at)
            left -= 1
    return places, marked[:left]
