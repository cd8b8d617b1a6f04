"""Every registered reader: schema, order of time, ids byte for byte, on ten rows in its own layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from foveate.core.config import from_dict, to_dict
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.base import Reader
from foveate.data.schema import REQUIRED, TABLES
from foveate.served_log import export_log
from foveate.state.base import ViewerEvent
from foveate.state.connect import open_viewers

# Ten meetings as (viewer, item, seconds since 1970), not in order of time; the last one is older than the first.
MEETINGS = [
    ("007", "1.0", 300),
    ("007", "é", 200),
    ("7", " a", 500),
    ("7", "1", 400),
    ("ü-2", "é", 100),
    ("ü-2", "1.0", 100),
    ("ü-2", " a", 100),
    ("007", "1", 900),
    ("7", "1.0", 450),
    ("007", " a", 50),
]
# Releases of movies know digits alone.
NUMBERED = [(str(7 + len(user)), str(1 + "1é ".find(item[0])), time) for user, item, time in MEETINGS]


class Row(NamedTuple):
    """An event as it must be read: seconds since 1970 or no time, and seconds watched, stars or 1."""

    viewer: str
    item: str
    kind: str
    time: int | None
    value: float | None


def each(meetings: list[tuple[str, str, int]], *, timed: bool = True, **events: float | None) -> list[Row]:
    """The rows of a log in which the same happened at every meeting: a value for each kind of event."""
    return [
        Row(viewer, item, kind, time if timed else None, value)
        for viewer, item, time in meetings
        for kind, value in events.items()
    ]


def kuairand(folder: Path) -> tuple[Path, list[Row]]:
    head = (
        "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
        "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
    )
    rows = [f"{u},{i},20220408,1200,{t}000,1,0,0,0,0,0,1,5000,9000,0,0,0,0,1\n" for u, i, t in MEETINGS]
    (folder / "log_standard_4_08_to_4_21_pure.csv").write_text(head + "".join(rows[:6]))
    (folder / "log_standard_4_22_to_5_08_pure.csv").write_text(head + "".join(rows[6:9]))
    (folder / "log_random_4_22_to_5_08_pure.csv").write_text(head + rows[9].replace(",0,1\n", ",1,1\n"))
    return folder, each(MEETINGS, watch=5.0, click=1.0, long_view=1.0)


def movielens(folder: Path) -> tuple[Path, list[Row]]:
    rated = [Row(u, i, "rate", t, 0.5 + n % 9 / 2) for n, (u, i, t) in enumerate(NUMBERED)]
    rows = "".join(f"{row.viewer},{row.item},{row.value},{row.time}\n" for row in rated)
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + rows)
    (folder / "movies.csv").write_text('movieId,title,genres\n1,"Café, Noir (1995)",Comedy|Drama\n')
    (folder / "tags.csv").write_text("userId,movieId,tag,timestamp\n1,1,noir,1\n2,1,noir,2\n2,1,coffee,2\n")
    return folder, rated


def recbole(folder: Path) -> tuple[Path, list[Row]]:
    rows = "".join(f"{u}\t{i}\t4\t{t}\n" for u, i, t in MEETINGS)
    (folder / "x.inter").write_text("user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + rows)
    (folder / "x.item").write_text("item_id:token\tmovie_title:token_seq\tclass:token_seq\né\tToy Story\tA B\n")
    return folder, each(MEETINGS, rate=4.0)


def sequence(folder: Path) -> tuple[Path, list[Row]]:
    file = folder / "s.parquet"
    pl.DataFrame({"user": [u for u, _, _ in MEETINGS], "item": [i for _, i, _ in MEETINGS]}).write_parquet(file)
    return file, each(MEETINGS, timed=False, watch=None)


def served(folder: Path) -> tuple[Path, list[Row]]:
    with open_viewers(folder / "state.sqlite") as viewers:
        viewers.append(
            [
                ViewerEvent(user, item, "watch", 3.5, time * 1_000_000, event_id=f"e{number}")
                for number, (user, item, time) in enumerate(MEETINGS)
            ]
        )
    export_log(folder / "state.sqlite", folder / "log", settle_s=0)
    return folder / "log", each(MEETINGS, watch=3.5)


def table(folder: Path) -> tuple[Path, list[Row]]:
    rows = "".join(f"{u},{i},{t},3.5\n" for u, i, t in MEETINGS)
    (folder / "log.csv").write_text("user_id,item_id,occurred_at,watch\n" + rows)
    return folder, each(MEETINGS, watch=3.5)


# Each writes a small log, and says where it lies and what its rows must read as.
FIXTURES: dict[str, Callable[[Path], tuple[Path, list[Row]]]] = {
    "kuairand": kuairand,
    "movielens": movielens,
    "recbole": recbole,
    "sequence": sequence,
    "served": served,
    "table": table,
}


@pytest.fixture(params=list(Reader.variants))
def imported(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    raw = tmp_path / "raw"
    raw.mkdir()
    assert request.param in FIXTURES, f"add a function that writes a small log for '{request.param}' to FIXTURES above"
    path, _ = FIXTURES[request.param](raw)
    return import_dataset(Reader.variants[request.param](), path, tmp_path / "out")


def meetings(dataset: Dataset) -> list[tuple[str, str, int]]:
    return NUMBERED if dataset.manifest.reader == "movielens" else MEETINGS


def test_tables_have_the_schema_and_no_null_where_none_may_be(imported: Dataset) -> None:
    frames = {
        "impressions": imported.impressions.collect(),
        "events": imported.events.collect(),
        "items": imported.items,
        "viewers": imported.viewers,
    }
    for name, frame in frames.items():
        assert dict(frame.schema) == TABLES[name]
        assert frame.height == imported.manifest.rows[name]
        assert not sum(frame.select(REQUIRED[name]).null_count().row(0))
    for name, key in (("impressions", "impression_id"), ("events", "event_id"), ("items", "item_id")):
        assert frames[name][key].is_unique().all()


def test_ids_are_kept_byte_for_byte(imported: Dataset) -> None:
    events = imported.events.collect()
    assert set(events["user_id"]) == {user for user, _, _ in meetings(imported)}
    assert set(events["item_id"]) == {item for _, item, _ in meetings(imported)}
    assert set(events["item_id"]) <= set(imported.items["item_id"])
    assert set(events["user_id"]) <= set(imported.viewers["user_id"])


def test_every_viewer_has_the_meetings_in_order(imported: Dataset) -> None:
    positive = imported.events.filter(pl.col("kind") == imported.manifest.positive_kinds[0]).collect()
    timed = imported.manifest.first is not None
    for user in {user for user, _, _ in meetings(imported)}:
        mine = [(time if timed else 0, item) for name, item, time in meetings(imported) if name == user]
        expected = [item for _, item in sorted(mine, key=lambda meeting: meeting[0])]
        assert positive.filter(pl.col("user_id") == user).sort("order")["item_id"].to_list() == expected


def test_every_row_reads_as_its_fixture_says(imported: Dataset, tmp_path: Path) -> None:
    (tmp_path / "written").mkdir()
    _, expected = FIXTURES[imported.manifest.reader](tmp_path / "written")
    seconds = pl.col("occurred_at").dt.timestamp("us") // 1_000_000
    columns = ("user_id", "item_id", pl.col("kind").cast(pl.String), seconds, "value")
    found = imported.events.select(columns).collect().rows()
    assert sorted(found, key=repr) == sorted(map(tuple, expected), key=repr)


def test_order_is_dense_and_agrees_with_time(imported: Dataset) -> None:
    for frame in (imported.impressions.rename({"shown_at": "occurred_at"}).collect(), imported.events.collect()):
        for _, mine in frame.group_by("user_id"):
            rows = mine.sort("order")
            assert rows["order"].to_list() == list(range(rows.height))
            assert rows["occurred_at"].is_sorted(nulls_last=False)


def test_settings_survive_the_manifest(imported: Dataset) -> None:
    manifest = imported.manifest
    reader = from_dict(Reader, {"name": manifest.reader, **manifest.settings})
    assert to_dict(reader) == {"name": manifest.reader, **manifest.settings}
    assert imported.path is not None
    assert open_dataset(imported.path).manifest == manifest


def test_the_same_files_give_the_same_dataset(imported: Dataset, tmp_path: Path) -> None:
    name = imported.manifest.reader
    path, _ = FIXTURES[name](tmp_path / "raw")
    again = import_dataset(Reader.variants[name](), path, tmp_path / "again")
    assert again.manifest.content_hash == imported.manifest.content_hash
