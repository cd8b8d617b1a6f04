"""What single readers do beyond the contract."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from foveate.core.errors import ConfigError
from foveate.data.importing.contacts import CONTACTS, SHOWN
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.kuairand import RANDOM_POLICY, KuaiRandReader
from foveate.data.readers.movielens import MovieLensReader
from foveate.data.readers.names import ITEM_NAMES, KIND_NAMES, LOG_NAMES, guess_columns
from foveate.data.readers.recbole import RecBoleReader
from foveate.data.readers.table import TableReader
from foveate.data.schema import EVENT_KINDS, ITEMS

HEAD = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)


@pytest.fixture
def kuairand(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "log_standard_4_08_to_4_21_pure.csv").write_text(
        HEAD
        + "1,10,20220408,1200,1000,1,0,0,0,0,0,1,5000,9000,0,0,0,0,4\n"
        + "1,11,20220408,1200,2000,0,0,0,0,0,0,0,0,9000,0,0,0,0,4\n"
        + "2,10,20220408,1200,2000,1,1,1,1,1,1,0,2500,9000,0,0,0,0,0\n"
    )
    (folder / "log_random_4_22_to_5_08_pure.csv").write_text(
        HEAD + "2,12,20220422,1200,9000,0,0,0,0,0,0,0,100,9000,0,0,0,1,1\n"
    )
    (folder / "video_features_basic_pure.csv").write_text(
        "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,"
        "server_height,music_id,music_type,tag\n"
        '10,77,NORMAL,2022-04-10,Kmovie,0.0,87433.0,720.0,1280.0,1,9.0,"39,2"\n'
        "11,78,NORMAL,,Kmovie,0.0,,720.0,1280.0,1,9.0,\n"
    )
    (folder / "user_features_pure.csv").write_text('user_id,user_active_degree,fans\n1,full_active,"[1,3)"\n')
    pl.DataFrame(
        {
            "user_id": [1],
            "watch_seq": [[20, 21, 20, 22]],
            "like_seq": [[21]],
            "long_watch_seq": [[30, 20, 22]],
        }
    ).write_parquet(folder / "histories_x.parquet")
    return folder


def test_kuairand_tells_impressions_from_events(kuairand: Path, tmp_path: Path) -> None:
    dataset = import_dataset(KuaiRandReader(), kuairand, tmp_path / "out")
    shown = dataset.impressions.collect().sort("shown_at", "user_id")
    assert shown["item_id"].to_list() == ["10", "11", "10", "12"]
    assert shown["surface"].to_list() == ["4", "4", "0", "1"]
    assert shown["policy_id"].to_list() == [None, None, None, RANDOM_POLICY]
    assert shown["propensity"].null_count() == 4
    two = dataset.events.filter(pl.col("user_id") == "2").sort("order").collect()
    assert two["kind"].to_list() == ["watch", "click", "like", "comment", "follow", "share", "hide", "watch"]
    assert two["value"].to_list() == [2.5, 1, 1, 1, 1, 1, 1, pytest.approx(0.1)]
    assert set(two["impression_id"]) == set(shown.filter(pl.col("user_id") == "2")["impression_id"])


def test_kuairand_reads_items_and_viewers(kuairand: Path, tmp_path: Path) -> None:
    dataset = import_dataset(KuaiRandReader(), kuairand, tmp_path / "out")
    ten, eleven, *rest = dataset.items.to_dicts()
    assert ten["channel_id"] == "77"
    assert ten["categories"] == ["39"]
    assert ten["tags"] == ["39", "2"]
    assert ten["duration_seconds"] == pytest.approx(87.433)
    assert ten["published_at"].isoformat() == "2022-04-10T00:00:00+00:00"
    assert (eleven["tags"], eleven["duration_seconds"], eleven["published_at"]) == ([], None, None)
    # Items that only the log or the histories know follow, without attributes.
    assert [item["item_id"] for item in rest] == ["12", "20", "21", "22", "30"]
    assert json.loads(dataset.viewers["attributes"][0]) == {"user_active_degree": "full_active", "fans": "[1,3)"}


def test_kuairand_histories_lie_before_every_dated_event(kuairand: Path, tmp_path: Path) -> None:
    dataset = import_dataset(KuaiRandReader(), kuairand, tmp_path / "out")
    one = dataset.events.filter(pl.col("user_id") == "1").sort("order").collect()
    told = list(zip(one["item_id"], one["kind"], strict=True))
    assert told == [
        ("30", "long_view"),  # older than the last watches
        ("20", "watch"),
        ("21", "watch"),
        ("21", "like"),
        ("20", "watch"),
        ("20", "long_view"),  # of the newer watch
        ("22", "watch"),
        ("22", "long_view"),
        ("10", "watch"),
        ("10", "click"),
        ("10", "long_view"),
    ]
    assert one["occurred_at"].null_count() == 8
    assert one["value"].to_list()[:2] == [1.0, None]


def test_movielens_dat_is_latin_1(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "ratings.dat").write_text("1::10::5::100\n1::11::4::90\n2::10::3.5::80\n")
    (raw / "movies.dat").write_bytes("10::Amélie: Le Film (2001)::Comedy|Romance\n11::X::Drama\n".encode("latin-1"))
    (raw / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
    (raw / "tags.dat").write_bytes("1::10::très bon::5\n".encode("latin-1"))
    dataset = import_dataset(MovieLensReader(), raw, tmp_path / "out")
    assert dataset.items["title"].to_list() == ["Amélie: Le Film (2001)", "X"]
    assert dataset.items["categories"].to_list() == [["Comedy", "Romance"], ["Drama"]]
    assert dataset.items["tags"].to_list() == [["très bon"], []]
    assert json.loads(dataset.viewers["attributes"][1])["age"] == "56"
    events = dataset.events.sort("user_id", "order").collect()
    assert events["item_id"].to_list() == ["11", "10", "10"]
    assert events["value"].to_list() == [4, 5, 3.5]


def test_movielens_counts_free_tags(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4,9\n2,2,4,9\n")
    (raw / "movies.csv").write_text("movieId,title,genres\n1,A,(no genres listed)\n2,B,Drama\n")
    (raw / "tags.csv").write_text(
        'userId,movieId,tag,timestamp\n1,1,coffee,1\n2,1,"noir, black",2\n3,1,"noir, black",2\n'
    )
    dataset = import_dataset(MovieLensReader(), raw, tmp_path / "out")
    assert dataset.items["tags"].to_list() == [["noir, black", "coffee"], []]
    assert dataset.items["categories"].to_list() == [[], ["Drama"]]


def test_recbole_without_rating_is_a_watch_without_time_is_file_order(tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text("item_id:token\tuser_id:token\nb\tu\na\tu\nb\tv\n")
    (tmp_path / "x.item").write_text('item_id:token\ttitle:token_seq\tclass:token_seq\na\tSay "Hi\tA B\n')
    dataset = import_dataset(RecBoleReader(), tmp_path / "x.inter", tmp_path / "out")
    assert dataset.manifest.positive_kinds == ("watch",)
    assert dataset.manifest.first is None
    assert dataset.events.collect().sort("user_id", "order")["item_id"].to_list() == ["b", "a", "b"]
    assert dataset.items.row(0, named=True)["title"] == 'Say "Hi'
    assert dataset.items.row(0, named=True)["categories"] == ["A", "B"]


def test_table_maps_columns_kinds_and_times(tmp_path: Path) -> None:
    rows = [
        {"uid": "u", "vid": "a", "ts": "2024-01-01T10:00:00+02:00", "what": "play", "amount": 12.5},
        {"uid": "u", "vid": "b", "ts": "2024-01-01T07:00:00Z", "what": "thumbs_up", "amount": None},
        {"uid": "v", "vid": "b", "ts": None, "what": "watch", "amount": None},
    ]
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (raw / "videos.csv").write_text("vid,name,labels,seconds\na,First,x|y,30\n")
    reader = TableReader(
        columns={"user_id": "uid", "item_id": "vid", "occurred_at": "ts", "kind": "what", "value": "amount"},
        kinds={"play": "watch", "thumbs_up": "like"},
        items="videos.csv",
        item_columns={"title": "name", "tags": "labels", "duration_seconds": "seconds"},
        positive=("like",),
        impressions=True,
    )
    dataset = import_dataset(reader, raw, tmp_path / "out")
    events = dataset.events.collect().sort("user_id", "order")
    assert list(zip(events["item_id"], events["kind"], events["value"], strict=True)) == [
        ("b", "like", 1.0),
        ("a", "watch", 12.5),
        ("b", "watch", None),
    ]
    assert events["occurred_at"][1].isoformat() == "2024-01-01T08:00:00+00:00"
    assert dataset.items.row(0, named=True)["tags"] == ["x", "y"]
    assert dataset.items.row(0, named=True)["duration_seconds"] == 30
    assert dataset.manifest.rows["impressions"] == 3


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 1000), ("us", 1_000_000)])
def test_table_reads_numeric_times_in_every_format(tmp_path: Path, unit: str, scale: int) -> None:
    frame = pl.DataFrame({"user_id": ["u", "v"], "item_id": [1, 2], "occurred_at": [100 * scale, 200 * scale]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "a.csv")
    for suffix in ("parquet", "csv"):
        out = tmp_path / suffix
        dataset = import_dataset(TableReader(time_unit=unit), tmp_path / f"a.{suffix}", out)
        assert (dataset.manifest.first, dataset.manifest.last) == (100_000_000, 200_000_000)


def test_every_column_of_ours_is_found_by_its_own_name() -> None:
    assert {*CONTACTS, "kind", "value"} - {SHOWN} == set(LOG_NAMES)
    assert set(ITEMS) == set(ITEM_NAMES)
    assert set(EVENT_KINDS) == set(KIND_NAMES)
    for known in (LOG_NAMES, ITEM_NAMES):
        assert guess_columns(list(known), known, ()) == {name: name for name in known}
        spellings = [name for names in known.values() for name in names]
        assert len(spellings) == len(set(spellings))


def test_table_refuses_settings_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="'usr' is unknown"):
        TableReader(columns={"usr": "x"})
    with pytest.raises(ConfigError, match="'enjoy' is unknown"):
        TableReader(kinds={"play": "enjoy"})
