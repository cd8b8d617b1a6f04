"""A log of any size in the layout of KuaiRand-Pure: for measuring imports, and for tests of the reader.

The files, their columns and their units are the published ones; the rows are made up. As in real logs, some rows are
there twice, some durations are blank, and some watches last longer than the video.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.storage.files import staged_folder

LOG = "log_standard_4_22_to_5_08_pure.csv"
VIDEOS = "video_features_basic_pure.csv"
USERS = "user_features_pure.csv"

_FIRST_MS = 1_650_556_800_000
"""Midnight of 22 April 2022 in Beijing."""
_DAYS = 17
_DAY_MS = 86_400_000
_DATES = np.array([20220422 + day if day < 9 else 20220501 + day - 9 for day in range(_DAYS)], dtype=np.int32)
_CHUNK = 1_000_000
_ROWS_PER_USER = 60
_MAX_VIDEOS = 7583
_TWICE = 0.03
_BLANK, _ZERO = 0.01, 0.01
_LONG_MS = 18_000
"""A short video is a long view when it plays to its end, a longer one when it plays for 18 seconds."""


def write_kuairand(out: Path, rows: int, seed: int = 0, progress: Callable[[str, int], None] | None = None) -> Path:
    """Write a log and the features of its videos and users.

    Memory stays bounded, however many rows are asked for: they are made and written a million at a time.

    Parameters
    ----------
    out
        Folder to make; nothing is left of it on a failure.
    rows
        Exact number of rows of the log, the repeated ones included.
    seed
        Of every random number: the same arguments write the same bytes.
    progress
        Called as ``progress(note, rows)`` after each piece.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    ConfigError
        ``rows`` is below 1 or ``seed`` below 0.
    OutputExistsError
        ``out`` already holds something.
    """
    if rows < 1:
        raise ConfigError(f"rows must be at least 1, got {rows}")
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, got {seed}")
    users = max(1, rows // _ROWS_PER_USER)
    n_videos = min(_MAX_VIDEOS, max(20, rows // 20))
    with staged_folder(out) as folder:
        videos = _videos(n_videos, np.random.default_rng([seed, 0]))
        videos.write_csv(folder / VIDEOS)
        lengths = videos["video_duration"].fill_null(30_000.0).to_numpy().astype(np.int32)
        _users(users, np.random.default_rng([seed, 1])).write_csv(folder / USERS)
        pieces = -(-rows // _CHUNK)
        edges = np.linspace(0, users, pieces + 1).astype(np.int64)
        with (folder / LOG).open("wb") as stream:
            for piece in range(pieces):
                size = min(_CHUNK, rows - piece * _CHUNK)
                rng = np.random.default_rng([seed, 2, piece])
                mine = (int(edges[piece]), max(int(edges[piece]) + 1, int(edges[piece + 1])))
                _rows(size, mine, lengths, rng).write_csv(stream, include_header=piece == 0)
                if progress:
                    progress("writing", size)
    return out


def _rows(size: int, users: tuple[int, int], lengths: NDArray[np.int32], rng: np.random.Generator) -> pl.DataFrame:
    """Return ``size`` rows of the log, of the users from the first to before the second, sorted by user and time."""
    twice = int(size * _TWICE)
    n = size - twice
    key = _users_of(n, users, rng).astype(np.int64) * (_DAYS * _DAY_MS) + _moments(n, rng)
    key.sort()
    user, moment = np.divmod(key, _DAYS * _DAY_MS)
    video = _videos_of(user, len(lengths), rng)
    played, long_view = _plays(lengths[video], rng)
    clicked = (played > 3000) & (rng.random(n, dtype=np.float32) < 0.95)
    chance = rng.random((7, n), dtype=np.float32)
    hour = (moment % _DAY_MS) // 3_600_000
    entered = chance[5] < 0.02
    frame = pl.DataFrame(
        {
            "user_id": user,
            "video_id": video,
            "date": _DATES[moment // _DAY_MS],
            "hourmin": hour * 100,
            "time_ms": moment + _FIRST_MS,
            "is_click": clicked.view(np.int8),
            "is_like": (long_view & (chance[0] < 0.05)).view(np.int8),
            "is_follow": (long_view & (chance[1] < 0.004)).view(np.int8),
            "is_comment": (long_view & (chance[2] < 0.007)).view(np.int8),
            "is_forward": (long_view & (chance[3] < 0.0025)).view(np.int8),
            "is_hate": (~long_view & (chance[4] < 0.001)).view(np.int8),
            "long_view": long_view.view(np.int8),
            "play_time_ms": played,
            "duration_ms": _logged_lengths(lengths[video], rng),
            "profile_stay_time": np.where(entered, (chance[0] * 20_000).astype(np.int32), 0),
            "comment_stay_time": np.where(chance[6] < 0.06, (chance[1] * 15_000).astype(np.int32), 0),
            "is_profile_enter": entered.view(np.int8),
            "is_rand": np.zeros(n, dtype=np.int8),
            "tab": np.array([1, 0, 4, 6, 2, 3], dtype=np.int8)[_steps(rng, n, (0.74, 0.83, 0.9, 0.96, 0.985))],
        }
    )
    again = np.ones(n, dtype=np.int64)
    again[rng.choice(n, size=twice, replace=False)] = 2
    return frame[np.repeat(np.arange(n, dtype=np.uint32), again)]


def _users_of(n: int, users: tuple[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
    first, last = users
    return first + ((last - first) * rng.random(n, dtype=np.float32) ** 2).astype(np.int64).clip(0, last - first - 1)


def _moments(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Milliseconds since the log began; evenings are busier than nights."""
    day = rng.integers(0, _DAYS, n, dtype=np.int64)
    # The mean of two uniform draws leans towards the middle, here a quarter past two in the afternoon and later.
    share = 0.5 * (rng.random(n, dtype=np.float32) + rng.random(n, dtype=np.float32)) + np.float32(0.2)
    return day * _DAY_MS + ((share % 1) * _DAY_MS).astype(np.int64) % _DAY_MS


def _videos_of(user: NDArray[np.int64], n_videos: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Half of what is shown is popular, half comes from the user's own corner of the catalogue."""
    n = len(user)
    depth = (n_videos * rng.random(n, dtype=np.float32) ** 3).astype(np.int64)
    corner = np.where(rng.random(n, dtype=np.float32) < 0.5, (user * 2_654_435_761) % n_videos, 0)
    # A step prime to most sizes spreads the popular ones over the ids.
    return np.asarray(((depth + corner) * 1_000_003) % n_videos, dtype=np.int32)


def _plays(lengths: NDArray[np.int32], rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    n = len(lengths)
    patience = rng.standard_exponential(n, dtype=np.float32) * np.float32(21_000)
    fate = rng.random(n, dtype=np.float32)
    played = np.minimum(patience, lengths)
    played = np.where(fate < 0.4, patience * np.float32(0.05), played)
    # Short videos loop: some watches last longer than the video.
    played = np.where((fate > 0.9) & (lengths < 60_000), lengths + patience, played).astype(np.int32)
    return played, (played >= np.minimum(lengths, _LONG_MS)) & (lengths > 0)


def _logged_lengths(lengths: NDArray[np.int32], rng: np.random.Generator) -> pl.Series:
    fate = rng.random(len(lengths), dtype=np.float32)
    return pl.DataFrame({"ms": np.where(fate < _ZERO, 0, lengths), "blank": fate > 1 - _BLANK}).select(
        pl.when(~pl.col("blank")).then("ms")
    )["ms"]


def _steps(rng: np.random.Generator, n: int, edges: tuple[float, ...]) -> NDArray[np.int64]:
    return np.searchsorted(np.array(edges, dtype=np.float32), rng.random(n, dtype=np.float32), side="right")


def _videos(n: int, rng: np.random.Generator) -> pl.DataFrame:
    length = np.clip(np.exp(rng.normal(11.0, 1.0, n)), 3_000, 1_200_000).round()
    author = rng.integers(10_000, 9_000_000, max(1, int(n * 0.86)))
    tags = rng.integers(1, 70, (n, 2))
    count = rng.choice(3, size=n, p=(0.02, 0.7, 0.28))
    height = rng.choice((1280.0, 960.0, 1024.0), size=n)
    return pl.DataFrame(
        {
            "video_id": np.arange(n),
            "author_id": author[(len(author) * rng.random(n) ** 1.3).astype(np.int64)],
            "video_type": np.where(rng.random(n) < 0.01, "AD", "NORMAL"),
            "upload_dt": np.array(["2022-04-09", "2022-04-10", "2022-04-11"])[rng.integers(0, 3, n)],
            "upload_type": np.array(["LongImport", "Web", "ShortImport", "Kmovie"])[rng.integers(0, 4, n)],
            "visible_status": np.zeros(n),
            "video_duration": pl.Series(length).set(pl.Series(rng.random(n) < 0.03), None),
            "server_width": np.full(n, 720.0),
            "server_height": height,
            "music_id": rng.integers(6_000_000_000, 9_200_000_000, n),
            "music_type": pl.Series(np.full(n, 9.0)).set(pl.Series(rng.random(n) < 0.03), None),
            "tag": [",".join(map(str, two[:k])) or None for two, k in zip(tags.tolist(), count.tolist(), strict=True)],
        }
    )


def _users(n: int, rng: np.random.Generator) -> pl.DataFrame:
    follows, fans, friends = (np.floor(np.exp(rng.normal(3.0, 1.5, n))).astype(np.int64) for _ in range(3))
    registered = rng.integers(14, 2000, n)
    degree = np.array(["full_active", "high_active", "middle_active", "low_active", "UNKNOWN"])
    frame = pl.DataFrame(
        {
            "user_id": np.arange(n),
            "user_active_degree": degree[rng.choice(5, size=n, p=(0.6, 0.2, 0.1, 0.06, 0.04))],
            "is_lowactive_period": np.zeros(n, dtype=np.int8),
            "is_live_streamer": np.where(rng.random(n) < 0.03, 1, -124),
            "is_video_author": (rng.random(n) < 0.5).view(np.int8),
            "follow_user_num": follows,
            "follow_user_num_range": _ranges(follows, (1, 11, 51, 101), ("0", "(0,10]", "(10,50]", "(50,100]", "500+")),
            "fans_user_num": fans,
            "fans_user_num_range": _ranges(
                fans, (1, 10, 100, 1000), ("0", "[1,10)", "[10,100)", "[100,1k)", "[1k,5k)")
            ),
            "friend_user_num": friends,
            "friend_user_num_range": _ranges(friends, (1, 5, 30, 60), ("0", "[1,5)", "[5,30)", "[30,60)", "250+")),
            "register_days": registered,
            "register_days_range": _ranges(
                registered, (61, 181, 366, 731), ("15-30", "61-90", "181-365", "366-730", "730+")
            ),
        }
    )
    sizes = (2, 7, 50, 1500, 15, 34, 3, 118, 454, 7, 5, 5)
    hot = {f"onehot_feat{i}": rng.integers(0, size, n) for i, size in enumerate(sizes)}
    rare = {f"onehot_feat{i}": (rng.random(n) < 0.05).astype(np.float64) for i in range(12, 18)}
    return frame.with_columns(**hot, **rare)


def _ranges(values: NDArray[np.int64], edges: tuple[int, ...], names: tuple[str, ...]) -> NDArray[np.str_]:
    return np.array(names)[np.searchsorted(np.array(edges), values, side="right")]
