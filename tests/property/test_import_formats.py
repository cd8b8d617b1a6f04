"""Any log, written in any of the usual ways, is read back as it was; what is refused stays below 5 %."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foveate.core.errors import FoveateError
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.detect import find_reader
from foveate.data.readers.table import TableReader

COUNTS: Counter[str] = Counter()

USERS = st.one_of(
    st.sampled_from(["u1", "u2", "ü-3", "a b", "Null Island", "7e2f", "x,y", 'say "hi"', "long-" * 9]),
    st.integers(1, 10**18).map(str),
)
ITEMS = st.one_of(st.sampled_from(["a", "b", "tt0104257", "0042", "é;1"]), st.integers(1, 10**6).map(str))
SECONDS = st.integers(
    int(datetime(2005, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2025, 6, 1, tzinfo=UTC).timestamp())
)
ROW = st.tuples(
    USERS,
    ITEMS,
    st.one_of(SECONDS, SECONDS, SECONDS, st.none()),
    st.one_of(st.none(), st.integers(0, 40_000).map(lambda quarters: quarters / 4)),
    st.one_of(st.none(), st.booleans()),
)
TIMES = {
    "s": lambda moment: str(int(moment.timestamp())),
    "ms": lambda moment: str(int(moment.timestamp()) * 1000),
    "us": lambda moment: str(int(moment.timestamp()) * 1_000_000),
    "ns": lambda moment: str(int(moment.timestamp()) * 1_000_000_000),
    "float": lambda moment: f"{moment.timestamp():.1f}",
    "power": lambda moment: f"{moment.timestamp():.9e}",
    "iso Z": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "iso space": lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S"),
    "iso fraction": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.000"),
    "iso offset": lambda moment: (moment + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00"),
    "iso short offset": lambda moment: (moment - timedelta(hours=5)).strftime("%Y-%m-%d %H:%M:%S-0500"),
    "bigquery": lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S UTC"),
    "bigquery fraction": lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S.000000 UTC"),
    "digits": lambda moment: moment.strftime("%Y%m%d%H%M%S"),
    "compact": lambda moment: moment.strftime("%Y%m%dT%H%M%SZ"),
    "slashes": lambda moment: moment.strftime("%Y/%m/%d %H:%M:%S"),
    "dots": lambda moment: moment.strftime("%d.%m.%Y %H:%M:%S"),
    "mail": lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT"),
}
FLAGS = [("1", "0"), ("true", "false"), ("True", "False"), ("yes", "no"), ("Y", "N"), ("t", "f"), ("1.0", "0.0")]
NOTHING = ["", "NULL", "null", "NaN", "NaT", "\\N", "None", "<NA>"]
NAMES = {
    "user_id": ["user_id", "userId", "USER_ID", "User ID", "uid", "viewer"],
    "item_id": ["item_id", "itemId", "movieId", "movie_id", "video_id", "item"],
    "occurred_at": ["occurred_at", "timestamp", "ts", "Timestamp", "event_time", "created_at"],
    "watch": ["watch", "watch_time", "watchSeconds"],
    "like": ["like", "liked", "is_like"],
}
PACKERS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


@dataclass(frozen=True)
class Layout:
    """How a log is written."""

    format: str
    separator: str
    time: str
    flags: tuple[str, str]
    nothing: str
    names: tuple[str, ...]
    pack: str
    bom: bool
    newline: str


LAYOUTS = st.builds(
    Layout,
    format=st.sampled_from(["text", "text", "text", "jsonl", "json", "parquet", "arrow"]),
    separator=st.sampled_from([",", ";", "\t", "|", "::"]),
    time=st.sampled_from(list(TIMES)),
    flags=st.sampled_from(FLAGS),
    nothing=st.sampled_from(NOTHING),
    names=st.tuples(*map(st.sampled_from, NAMES.values())),
    pack=st.sampled_from(["", "", ".gz", ".bz2", ".xz", ".zst", ".zip"]),
    bom=st.booleans(),
    newline=st.sampled_from(["\n", "\r\n"]),
)


def texts(row: tuple[Any, ...], layout: Layout) -> list[str | None]:
    user, item, second, watch, like = row
    moment = None if second is None else TIMES[layout.time](datetime.fromtimestamp(second, UTC))
    flag = None if like is None else layout.flags[0 if like else 1]
    return [user, item, moment, None if watch is None else f"{watch:g}", flag]


def written(rows: list[tuple[Any, ...]], layout: Layout, folder: Path) -> Path:
    name, data = encoded(rows, layout)
    if layout.bom and layout.format in ("text", "jsonl", "json"):
        data = b"\xef\xbb\xbf" + data
    if layout.pack == ".zip":
        with zipfile.ZipFile(folder / "log.zip", "w") as archive:
            archive.writestr(name, data)
        return folder / "log.zip"
    data = PACKERS[layout.pack](data)
    path = folder / (name + layout.pack)
    path.write_bytes(data)
    return path


def encoded(rows: list[tuple[Any, ...]], layout: Layout) -> tuple[str, bytes]:
    lines = [texts(row, layout) for row in rows]
    if layout.format == "text":
        nothing = [[layout.nothing if field is None else field for field in line] for line in lines]
        suffix = {"\t": ".tsv", "::": ".dat", "|": ".txt"}.get(layout.separator, ".csv")
        if layout.separator == "::":
            text = layout.newline.join("::".join(line) for line in [list(layout.names), *nothing]) + layout.newline
            return f"log{suffix}", text.encode()
        stream = io.StringIO()
        csv.writer(stream, delimiter=layout.separator, lineterminator=layout.newline).writerows(
            [layout.names, *nothing]
        )
        return f"log{suffix}", stream.getvalue().encode()
    if layout.format in ("jsonl", "json"):
        objects = []
        for (user, item, second, watch, like), line in zip(rows, lines, strict=True):
            time = line[2] if second is None or not str(line[2]).isdigit() else int(str(line[2]))
            value = dict(zip(layout.names, (user, item, time, watch, like), strict=True))
            objects.append({key: one for key, one in value.items() if one is not None})
        if layout.format == "json":
            return "log.json", json.dumps(objects).encode()
        return "log.jsonl", "".join(json.dumps(one, ensure_ascii=False) + layout.newline for one in objects).encode()
    frame = pl.DataFrame(rows, schema=["user", "item", "second", "watch", "like"], orient="row").select(
        pl.col("user").cast(pl.String).alias(layout.names[0]),
        pl.col("item").cast(pl.String).alias(layout.names[1]),
        (pl.col("second").cast(pl.Int64) * 1_000_000).cast(pl.Datetime("us")).alias(layout.names[2]),
        pl.col("watch").cast(pl.Float64).alias(layout.names[3]),
        pl.col("like").cast(pl.Float64).alias(layout.names[4]),
    )
    stream = io.BytesIO()
    if layout.format == "parquet":
        frame.write_parquet(stream)
        return "log.parquet", stream.getvalue()
    frame.write_ipc(stream)
    return "log.arrow", stream.getvalue()


def expected(rows: list[tuple[Any, ...]]) -> list[tuple[str, str, str, float, datetime | None]]:
    kept = []
    met = set()
    for row in rows:
        user, item, second, watch, like = row
        # A flag that is blank and one that says no are the same: nothing happened.
        same = (user, item, second, watch, bool(like))
        if second is not None and same in met:
            continue
        met.add(same)
        moment = None if second is None else datetime.fromtimestamp(second, UTC)
        if watch is not None:
            kept.append((user, item, "watch", watch, moment))
        if like:
            kept.append((user, item, "like", 1.0, moment))
    return sorted(kept, key=str)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROW, min_size=3, max_size=12), LAYOUTS)
def test_a_log_is_read_back_as_it_was_written(rows: list[tuple[Any, ...]], layout: Layout) -> None:
    # Two viewers, two items, one thing that happened, and one full row: less is no log.
    moment = int(datetime(2019, 7, 23, 11, 5, 17, tzinfo=UTC).timestamp())
    rows = [("first", "one", moment, 3.5, True), ("second", "two", moment + 86_400 * 40, None, False), *rows]
    with TemporaryDirectory() as folder:
        path = written(rows, layout, Path(folder))
        COUNTS["all"] += 1
        try:
            dataset = import_dataset(TableReader(), path, Path(folder) / "out")
        except FoveateError as error:
            COUNTS["refused"] += 1
            COUNTS[str(error)[:90]] += 1
            return
        events = dataset.events.collect()
    found = events.select("user_id", "item_id", "kind", "value", "occurred_at").rows()
    assert sorted(found, key=str) == expected(rows)


def test_hardly_anything_is_refused() -> None:
    if not COUNTS["all"]:
        pytest.skip("the test before has not run")
    assert COUNTS["refused"] < 0.05 * COUNTS["all"], COUNTS


def test_the_reader_is_found_without_being_named(tmp_path: Path) -> None:
    rows = [("u", "a", 1_600_000_000, 2.0, None), ("v", "b", 1_600_000_060, 2.0, None)]
    layout = Layout(
        "text", ",", "s", ("1", "0"), "", ("user_id", "item_id", "timestamp", "watch", "like"), "", False, "\n"
    )
    assert find_reader(written(rows, layout, tmp_path)) is TableReader
