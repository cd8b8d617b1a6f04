"""Files as people have them: packed, in folders, at a store, without a header; and what an import says of them."""

from __future__ import annotations

import dataclasses
import gzip
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from foveate.core.errors import ConfigError, ReaderError, SchemaError
from foveate.data.dataset import Dataset, open_dataset, verify_dataset
from foveate.data.importing.contacts import CONTACTS, SHOWN
from foveate.data.importing.import_dataset import import_dataset, import_tables, preview
from foveate.data.importing.items import replace_items
from foveate.data.importing.report import ImportReport
from foveate.data.readers.detect import find_reader
from foveate.data.readers.table import TableReader
from foveate.data.schema import ITEMS
from foveate.storage.folder import Folder
from lab.stores import bucket

LOG = "userId,movieId,rating,timestamp\n1,10,4.5,1700000000\n2,11,3,1700000100\n1,11,5,1700000200\n"
MOVIES = "movieId,title,genres\n10,Alien (1979),Horror|Sci-Fi\n11,Heat (1995),Crime\n12,Never watched,Drama\n"


def events(dataset: Dataset) -> list[tuple[object, ...]]:
    return dataset.events.select("user_id", "item_id", "kind", "value").collect().rows()


RATED = [("1", "10", "rate", 4.5), ("1", "11", "rate", 5.0), ("2", "11", "rate", 3.0)]


def report_of(dataset: Dataset) -> ImportReport:
    assert dataset.manifest.source is not None
    return dataset.manifest.source


def test_an_import_says_what_it_did(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "log.csv").write_text(LOG.replace("timestamp", "timestamp,mood").replace("00\n", "00,fine\n"))
    (raw / "items.csv").write_text("movieId,title,genres,budget\n10,Alien,Horror,5\n11,Heat,Crime,6\n12,X,Drama,\n")
    (raw / "README.md").write_text("Ours.")
    dataset = import_dataset(TableReader(), raw, tmp_path / "out")
    assert events(dataset) == RATED
    assert dataset.manifest.positive_kinds == ("rate",)
    report = report_of(dataset)
    assert [(file.file, file.rows) for file in report.files] == [("log.csv", 3)]
    assert [(one.file, one.why) for one in report.skipped] == [("README.md", "no table by its name")]
    found = {(column.table, column.ours): (column.theirs, column.how, column.filled) for column in report.columns}
    assert found == {
        ("log", "user_id"): ("userId", "guessed", 1),
        ("log", "item_id"): ("movieId", "guessed", 1),
        ("log", "rate"): ("rating", "guessed", 1),
        ("log", "occurred_at"): ("timestamp", "guessed", 1),
        ("items", "item_id"): ("movieId", "guessed", 1),
        ("items", "title"): ("title", "same name", 1),
        ("items", "categories"): ("genres", "guessed", 1),
    }
    assert report.ignored == {"log": ("mood",), "items": ("budget",)}
    assert (report.log_items, report.described_items, report.unmet_items) == (2, 2, 1)
    assert open_dataset(tmp_path / "out").manifest == dataset.manifest


def test_a_guess_is_overruled_by_a_setting(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,customer,item_id,watch\nx,u1,a,3\ny,u2,b,4\n")
    dataset = import_dataset(
        TableReader(columns={"user_id": "customer", "watch": "none"}), tmp_path / "log.csv", tmp_path / "out"
    )
    assert events(dataset) == [("u1", "a", "watch", None), ("u2", "b", "watch", None)]
    assert report_of(dataset).ignored == {"log": ("user_id", "watch")}


def test_items_that_do_not_fit_the_log_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\nu,0010\nv,0011\n")
    (tmp_path / "items.csv").write_text("id,title\n10,A\n11,B\n")
    dataset = import_dataset(TableReader(items="items.csv"), tmp_path / "log.csv", tmp_path / "out")
    (warning,) = report_of(dataset).item_warnings
    assert "describes 0 of the log's 2 items: the log has '0010', the table '10'" in warning


def test_times_that_mix_zones_and_none_are_refused_until_said(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,ts\nu,a,2024-01-01T10:00:00\nv,b,2024-01-01T10:00:00Z\n")
    with pytest.raises(ReaderError, match=r"1 times of column 'ts' name no time zone and 1 do; .*time_zone=UTC"):
        import_dataset(TableReader(), log, tmp_path / "out")
    dataset = import_dataset(TableReader(time_zone="Europe/Berlin"), log, tmp_path / "out")
    times = dict(dataset.events.select("user_id", "occurred_at").collect().rows())
    assert times == {"u": datetime(2024, 1, 1, 9, tzinfo=UTC), "v": datetime(2024, 1, 1, 10, tzinfo=UTC)}
    with pytest.raises(ConfigError, match="time_zone: 'Mars' is none"):
        TableReader(time_zone="Mars")


def test_bad_rows_are_skipped_and_counted_up_to_a_share(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,watch\n" + "u,a,3\nv,b,4\n" * 30 + "u,a,soon\nv,b,4,9,9\n")
    with pytest.raises(ReaderError, match=r"line 62, column 'watch' holds \"soon\""):
        import_dataset(TableReader(), log, tmp_path / "out")
    dataset = import_dataset(TableReader(on_error="skip"), log, tmp_path / "out")
    assert len(events(dataset)) == 60
    report = report_of(dataset)
    assert report.bad_rows == 2
    assert "line 62" in report.bad_examples[0]
    assert "line 63: the row has 5 fields" in report.bad_examples[1]
    with pytest.raises(ReaderError, match=r"2 of 62 rows cannot be read, more than skip_at_most=0.01"):
        import_dataset(TableReader(on_error="skip", skip_at_most=0.01), log, tmp_path / "other")
    with pytest.raises(ConfigError, match="skip_at_most"):
        TableReader(skip_at_most=2)


def test_a_quote_that_is_never_closed_is_no_row_to_skip(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text('user_id,item_id\nu,a\nv,"b\nw,c\n' + "x,d\n" * 50)
    with pytest.raises(ReaderError, match="line 3 opens a quote that is never closed"):
        import_dataset(TableReader(on_error="skip"), tmp_path / "log.csv", tmp_path / "out")


@pytest.mark.parametrize(
    "text",
    [
        "# exported\nuser_id,item_id\nu,a\nv,b\n",
        "user_id, item_id\nu, a\nv, b\n",
        "user_id,item_id\ru,a\rv,b\r",
        '"user_id","item_id"\n"u","a"\n"v","b"\n',
        "user_id item_id\nu a\nv b\n",
        "user_id,item_id,\nu,a,\nv,b,\n",
        'note,user_id,item_id\nhe said "hi,u,a\n,v,b\n',
    ],
)
def test_texts_of_many_hands(text: str, tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes(text.encode())
    dataset = import_dataset(TableReader(), tmp_path / "log.txt", tmp_path / "out")
    assert events(dataset) == [("u", "a", "watch", None), ("v", "b", "watch", None)]


def test_a_log_without_a_header_takes_names(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t4\t891717742\n")
    guessed = import_dataset(TableReader(), tmp_path / "u.data", tmp_path / "guessed")
    assert events(guessed) == [("186", "302", "rate", 4.0), ("196", "242", "rate", 3.0)]
    assert guessed.manifest.first == 881250949 * 1_000_000
    names = TableReader(names=("user_id", "item_id", "watch", "ts"))
    named = import_dataset(names, tmp_path / "u.data", tmp_path / "named")
    assert events(named) == [("186", "302", "watch", 4.0), ("196", "242", "watch", 3.0)]
    with pytest.raises(SchemaError, match="its rows have 4 columns, and names has 2"):
        import_dataset(TableReader(names=("user_id", "item_id")), tmp_path / "u.data", tmp_path / "short")


def test_packed_files_and_archives_are_unpacked(tmp_path: Path) -> None:
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(LOG.encode()))
    assert events(import_dataset(TableReader(), tmp_path / "log.csv.gz", tmp_path / "gz")) == RATED
    with zipfile.ZipFile(tmp_path / "release.zip", "w") as archive:
        archive.writestr("ml/ratings.csv", LOG)
        archive.writestr("ml/movies.csv", MOVIES)
        archive.writestr("__MACOSX/._ratings.csv", "junk")
    dataset = import_dataset(TableReader(), tmp_path / "release.zip", tmp_path / "zip")
    assert events(dataset) == RATED
    assert dataset.items["title"].to_list() == ["Alien (1979)", "Heat (1995)", "Never watched"]
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress(LOG.encode() * 1000)[:-20])
    with pytest.raises(ReaderError, match=r"torn\.csv\.gz' cannot be unpacked"):
        import_dataset(TableReader(), tmp_path / "torn.csv.gz", tmp_path / "torn")


def test_folders_in_hive_layout_give_their_keys(tmp_path: Path) -> None:
    for day, item in (("2024-01-01", "a"), ("2024-01-02", "b")):
        folder = tmp_path / "log" / f"date={day}"
        folder.mkdir(parents=True)
        pl.DataFrame({"user_id": ["u", "v"], "item_id": [item, item]}).write_parquet(folder / "part-0.parquet")
        (folder / "_SUCCESS").touch()
    dataset = import_dataset(TableReader(), tmp_path / "log", tmp_path / "out")
    times = dataset.events.filter(pl.col("user_id") == "u").select("item_id", "occurred_at").collect().rows()
    assert times == [("a", datetime(2024, 1, 1, tzinfo=UTC)), ("b", datetime(2024, 1, 2, tzinfo=UTC))]


def test_parts_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for part, item in ((2, "b"), (10, "c"), (1, "a")):
        (tmp_path / "log" / f"part-{part}.csv").write_text(f"user_id,item_id\nu,{item}\nv,{item}\n")
    dataset = import_dataset(TableReader(), tmp_path / "log", tmp_path / "out")
    assert [item for user, item, *_ in events(dataset) if user == "u"] == ["a", "b", "c"]


def test_a_log_at_a_store_is_read_as_one_here(tmp_path: Path) -> None:
    with bucket("logs") as address:
        place = Folder.at(address.format("raw"))
        place.write("ratings.csv", LOG)
        place.write("movies.csv", MOVIES)
        dataset = import_dataset(TableReader(), address.format("raw"), tmp_path / "folder")
        assert events(dataset) == RATED
        assert dataset.items["title"][0] == "Alien (1979)"
        assert events(import_dataset(TableReader(), address.format("raw/ratings.csv"), tmp_path / "file")) == RATED
        with pytest.raises(ReaderError, match="does not exist or holds nothing"):
            import_dataset(TableReader(), address.format("nowhere"), tmp_path / "none")


@pytest.mark.parametrize("kind", ["polars", "lazy", "pandas", "arrow"])
def test_tables_in_memory_are_logs(kind: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"userId": [1, 2, 1], "movieId": [10.0, 11.0, 11.0], "rating": [4.5, 3, 5]})
    items = pl.DataFrame({"id": [10, 11], "name": ["Alien", "Heat"], "genres": [["Horror"], []]})
    log = {"polars": frame, "lazy": frame.lazy(), "pandas": frame.to_pandas(), "arrow": frame.to_arrow()}[kind]
    assert kind != "pandas" or isinstance(log, pd.DataFrame)
    assert kind != "arrow" or isinstance(log, pa.Table)
    dataset = import_tables(log, tmp_path / "out", items=items)
    assert events(dataset) == RATED
    assert dataset.items["title"].to_list() == ["Alien", "Heat"]
    assert dataset.items["categories"].to_list() == [["Horror"], []]


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="a list is no table"):
        import_tables([1, 2], tmp_path / "out")
    (tmp_path / "log.jsonl").write_text('{"user": {"id": 1}, "item_id": "a"}\n{"user": {"id": 2}, "item_id": "b"}\n')
    with pytest.raises(SchemaError, match="column 'user' holds objects"):
        import_dataset(TableReader(), tmp_path / "log.jsonl", tmp_path / "out")


def test_ids_of_their_own_stay_with_events(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "event_id,user_id,item_id,ts,like,watch\ne1,u,a,1700000000,1,3\ne2,v,b,1700000001,0,4\ne1,u,a,1700000009,1,3\n"
    )
    dataset = import_dataset(TableReader(), tmp_path / "log.csv", tmp_path / "out")
    ids = dataset.events.select("user_id", "kind", "event_id").collect().rows()
    assert ids == [("u", "watch", "e1:watch"), ("u", "like", "e1:like"), ("v", "watch", "e2")]
    assert sum(step.dropped for step in dataset.manifest.cleaning) == 1
    assert dataset.manifest.own_event_ids
    (tmp_path / "log.csv").write_text("event_id,user_id,item_id\ne1,u,a\n,v,b\n")
    assert not import_dataset(TableReader(), tmp_path / "log.csv", tmp_path / "some").manifest.own_event_ids


def test_the_reader_that_fits_is_found(tmp_path: Path) -> None:
    def folder(name: str, **files: str) -> Path:
        (tmp_path / name).mkdir()
        for stem, text in files.items():
            (tmp_path / name / stem.replace("_DOT_", ".")).write_text(text)
        return tmp_path / name

    assert find_reader(folder("ml", ratings_DOT_csv=LOG, movies_DOT_csv=MOVIES)).name == "movielens"
    dat = folder("tweetings", ratings_DOT_dat="1::10::4::100\n2::11::3::90\n", movies_DOT_dat="10::A::B\n")
    assert find_reader(dat).name == "movielens"
    assert find_reader(dat / "ratings.dat").name == "movielens"
    assert find_reader(dat, ["columns"]).name == "table"
    assert find_reader(folder("rb", x_DOT_inter="user_id:token\titem_id:token\n1\t2\n")).name == "recbole"
    assert find_reader(folder("own", log_DOT_csv=LOG)).name == "table"
    with pytest.raises(ReaderError, match="'empty' holds no table"):
        find_reader(folder("empty"))


def test_movies_in_utf_8_keep_their_letters(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "ratings.dat").write_text("1::10::5::100\n2::11::4::90\n")
    (raw / "movies.dat").write_text("10::Fantômas (1913)::Crime\n11::X::Drama\n", encoding="utf-8")
    (raw / "links.csv").write_text("imdb,tmdb\n1,2\n")
    for reader in (find_reader(raw)(), TableReader()):
        dataset = import_dataset(reader, raw, tmp_path / f"out-{reader.name}")
        assert dataset.items["title"].to_list() == ["Fantômas (1913)", "X"]
        assert dataset.items["categories"].to_list() == [["Crime"], ["Drama"]]


def test_a_preview_shows_the_first_rows_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    before = sorted(tmp_path.rglob("*"))
    found = preview(TableReader(), tmp_path / "log.csv", rows=1)
    assert found.events.select("user_id", "item_id", "kind", "value").rows() == [("1", "10", "rate", 4.5)]
    assert found.report.files[0].rows == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_items_are_replaced_without_the_log(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    before = import_dataset(TableReader(), tmp_path / "log.csv", tmp_path / "out")
    assert before.items["title"].null_count() == 2
    (tmp_path / "films.csv").write_text(MOVIES)
    after = replace_items(before, tmp_path / "films.csv")
    assert after.items["title"].to_list() == ["Alien (1979)", "Heat (1995)", "Never watched"]
    assert events(after) == RATED
    assert after.manifest.content_hash != before.manifest.content_hash
    assert report_of(after).described_items == 2
    verify_dataset(tmp_path / "out")


def foveate(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("foveate")
    command = [script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=cwd)


def test_the_command_line_guesses_shows_and_writes(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "log.csv").write_text(LOG)
    (raw / "items.csv").write_text(MOVIES)
    dry = foveate("data", "import", "raw", "--dry-run", "--json", "dry.json", cwd=tmp_path)
    assert dry.returncode == 0, dry.stderr
    assert "reader table; nothing is written" in dry.stdout
    assert json.loads((tmp_path / "dry.json").read_text())["events"][0]["item_id"] == "10"
    done = foveate("data", "import", "raw", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Alien" not in done.stdout
    assert "2 of the log's 2 items are described" in done.stdout
    (tmp_path / "new.csv").write_text(MOVIES.replace("Alien", "Aliens"))
    assert foveate("data", "items", "out", "new.csv", cwd=tmp_path).returncode == 0
    assert open_dataset(tmp_path / "out").items["title"][0] == "Aliens (1979)"


NESTED = [
    {"who": {"id": "u", "at": {"town": "Bern"}}, "what": {"id": 12345678901234567890, "s": 3.5}, "ts": 1_700_000_000},
    {"who": {"id": "v", "at": None}, "what": {"id": 7, "s": 4.0}, "ts": 1_700_000_100},
    {"who": {"id": "v"}, "what": {"id": 12345678901234567890}, "ts": 1_700_000_200},
]
WITHIN = {"user_id": "who.id", "item_id": "what.id", "watch": "what.s"}


def nested_lines(folder: Path) -> Path:
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in NESTED))
    return folder / "log.jsonl"


def nested_list(folder: Path) -> Path:
    (folder / "log.json").write_text(json.dumps(NESTED))
    return folder / "log.json"


def nested_text(folder: Path) -> Path:
    rows = [{name: json.dumps(one) if isinstance(one, dict) else one for name, one in row.items()} for row in NESTED]
    pl.DataFrame(rows).write_csv(folder / "log.csv")
    return folder / "log.csv"


def nested_structs(folder: Path) -> Path:
    types = {
        "who": pl.Struct({"id": pl.String, "at": pl.Struct({"town": pl.String})}),
        "what": pl.Struct({"id": pl.UInt64, "s": pl.Float64}),
        "ts": pl.Int64,
    }
    pl.DataFrame(NESTED, schema=types).write_parquet(folder / "log.parquet")
    return folder / "log.parquet"


@pytest.mark.parametrize("write", [nested_lines, nested_list, nested_text, nested_structs])
def test_a_field_within_a_column_is_named_by_its_path(write: Callable[[Path], Path], tmp_path: Path) -> None:
    dataset = import_dataset(TableReader(columns=WITHIN), write(tmp_path), tmp_path / "out")
    assert events(dataset) == [
        ("u", "12345678901234567890", "watch", 3.5),
        ("v", "7", "watch", 4.0),
    ]
    assert not report_of(dataset).ignored


@pytest.mark.parametrize("write", [nested_lines, nested_structs])
def test_a_field_that_no_column_has_is_refused_with_those_there_are(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    with pytest.raises(
        SchemaError, match=r"column 'who\.name' is missing; it holds: .*who\.id, who\.at\.town, what\.id"
    ):
        import_dataset(TableReader(columns={**WITHIN, "user_id": "who.name"}), write(tmp_path), tmp_path / "out")


def test_a_field_within_a_column_of_items_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    films = [{"film": {"id": 10, "name": "Alien"}}, {"film": {"id": 11, "name": "Heat"}}]
    (tmp_path / "films.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in films))
    reader = TableReader(items="films.jsonl", item_columns={"item_id": "film.id", "title": "film.name"})
    dataset = import_dataset(reader, tmp_path / "log.csv", tmp_path / "out")
    assert dict(dataset.items.select("item_id", "title").rows()) == {"10": "Alien", "11": "Heat"}


def test_a_dry_run_shows_the_columns_where_viewers_or_items_are_not_found(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,clip_ref,ts,watch_time\nann,c-7,1700000000,3\n")
    done = foveate("data", "import", "log.csv", "--dry-run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "column 'user_id' is missing" in done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["who", "ann"] in rows
    assert ["clip_ref", "c-7"] in rows
    assert ["ts", "1700000000", "occurred_at", "guessed"] in rows
    assert ["watch_time", "3", "watch", "guessed"] in rows


@pytest.mark.parametrize(
    ("head", "row", "warning"),
    [
        ("seen_on", "2024-05-01 12:00:00", "seen_on like times; if so, say columns.occurred_at=seen_on"),
        ("seen_on", "1714560000", "seen_on like times; if so, say columns.occurred_at=seen_on"),
        ("seen_on,clip_len_sec", "1714560000,31", "columns.occurred_at=seen_on columns.watch=clip_len_sec"),
        ("watched_when", "1714560000", "watched_when like times; if so, say columns.occurred_at=watched_when"),
        ("ts,dwell", "1714560000,3.5", "dwell like lengths; if so, say columns.watch=dwell"),
        # Small numbers, flags and texts are neither.
        ("mood", "3", ""),
        ("watched", "1", ""),
        ("duration_class", "long", ""),
        # What is read from another column is not missed.
        ("ts,watch_time,upload_seconds,video_duration", "1714560000,3,9,60", ""),
    ],
)
def test_columns_left_out_that_look_like_times_or_lengths_are_warned_of(
    head: str, row: str, warning: str, tmp_path: Path
) -> None:
    (tmp_path / "log.csv").write_text(f"user,item,{head}\n1,10,{row}\n2,11,{row}\n")
    warnings = preview(TableReader(), tmp_path / "log.csv").report.warnings
    assert len(warnings) == bool(warning)
    assert all(warning in one for one in warnings)


def test_columns_of_any_type_are_left_out_without_a_word(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "user": ["1", "2"],
            "item": ["a", "b"],
            "length": [{"s": 5}, {"s": 6}],
            "seconds": [[1, 2], [3]],
            "watch_ids": [b"x", b"y"],
            "watched_sec": [True, False],
            "nothing": pl.Series([None, None], dtype=pl.Null),
        }
    )
    frame.write_parquet(tmp_path / "log.parquet")
    report = preview(TableReader(), tmp_path / "log.parquet").report
    assert not report.warnings
    assert report.ignored == {"log": tuple(frame.columns[2:])}


def test_columns_of_items_left_out_are_warned_of_too(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "films.csv").write_text("movieId,first_shown,watch_min\n10,1979-05-25,117\n11,1995-12-15,170\n")
    report = preview(TableReader(items="films.csv"), tmp_path / "log.csv").report
    (warning,) = report.item_warnings
    assert "item_columns.published_at=first_shown item_columns.duration_seconds=watch_min" in warning


def test_a_table_of_items_that_is_the_log_itself_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    for root in (tmp_path / "log.csv", tmp_path):
        with pytest.raises(ReaderError, match=r"items=log\.csv names the log itself.*items=none"):
            preview(TableReader(items="log.csv"), root)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("log.csv",), "--out is missing"),
        (("nowhere.csv", "--out", "out"), "'nowhere.csv' does not exist"),
        (("tabel", "log.csv", "--out", "out"), "no reader is called 'tabel'. Did you mean 'table'?"),
        (("log.csv", "--out", "out", "colums.user_id=x"), "unknown setting 'colums'. Did you mean 'columns'?"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], line: str, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    done = foveate("data", "import", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_page_names_every_setting(repository: Path) -> None:
    page = (repository / "docs" / "own-data.md").read_text()
    settings = {field.name for field in dataclasses.fields(TableReader)}
    ours = {*CONTACTS, *ITEMS, "kind", "value"} - {SHOWN}
    assert {name for name in settings | ours if f"`{name}" not in page and f"{name}=" not in page} <= {
        "columns",
        "separator",
    }
