"""What an import of foreign files could lose or mistake without a word; each test names a kind of it."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from foveate.core.errors import ConfigError, ReaderError, SchemaError, StorageError
from foveate.data.dataset import Dataset
from foveate.data.importing.import_dataset import import_dataset, import_tables
from foveate.data.importing.report import ImportReport
from foveate.data.raw.files import plain_files
from foveate.data.readers.table import TableReader


def events(dataset: Dataset) -> list[tuple[object, ...]]:
    return dataset.events.select("user_id", "item_id", "kind", "value").collect().rows()


def report_of(dataset: Dataset) -> ImportReport:
    assert dataset.manifest.source is not None
    return dataset.manifest.source


def test_ids_are_floats_in_one_file_and_integers_in_another(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.csv").write_text("user_id,item_id\n1.0,10\n")
    (raw / "b.csv").write_text("user_id,item_id\n1,11\n2,11\n")
    dataset = import_dataset(TableReader(), raw, tmp_path / "out")
    assert [(user, item) for user, item, *_ in events(dataset)] == [("1", "10"), ("1", "11"), ("2", "11")]


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ('[{"user_id": ["u1", "u2"], "item_id": ["a", "b"]}]', "column 'user_id' holds objects or lists"),
        ('[{"user_id": "u1", "item_id": "a", "watch": "long"}]', r"on_error=skip, or the column with columns\.watch=n"),
    ],
)
def test_a_refusal_says_what_can_be_done(log: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(log)
    with pytest.raises((ReaderError, SchemaError), match=told):
        import_dataset(TableReader(), tmp_path / "log.json", tmp_path / "out")


@pytest.mark.parametrize(
    ("column", "amounts", "found"),
    [
        ("rating", ("", "4"), [("1", "a", "share", 1.0), ("2", "b", "rate", 4.0)]),
        ("watch_time", ("", "30"), [("1", "a", "share", 1.0), ("2", "b", "watch", 30.0)]),
        ("like", ("1", "0"), [("1", "a", "like", 1.0), ("1", "a", "share", 1.0), ("2", "b", "watch", None)]),
    ],
)
def test_columns_beside_a_kind_keep_what_they_say(
    column: str, amounts: tuple[str, str], found: list[tuple[object, ...]], tmp_path: Path
) -> None:
    happened = ("1,a,share", "2,b,rated" if column == "rating" else "2,b,view")
    rows = zip(happened, amounts, strict=True)
    (tmp_path / "log.csv").write_text(f"user_id,item_id,event,{column}\n" + "".join(f"{a},{b}\n" for a, b in rows))
    dataset = import_dataset(TableReader(), tmp_path / "log.csv", tmp_path / "out")
    assert sorted(events(dataset), key=str) == sorted(found, key=str)


def test_a_blank_kind_is_refused_or_nothing_that_happened(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,event\n1,a,view\n2,b,\n3,c,like\n")
    with pytest.raises(SchemaError, match=r"1 row\(s\) have no kind; .* on_error=skip"):
        import_dataset(TableReader(), tmp_path / "log.csv", tmp_path / "refused")
    dataset = import_dataset(TableReader(on_error="skip"), tmp_path / "log.csv", tmp_path / "out")
    assert len(events(dataset)) == 2
    assert any(warning.startswith("in 1 of 3 rows nothing happened") for warning in report_of(dataset).warnings)


def test_what_is_guessed_of_rows_and_ids_is_noted(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\n7.04E+17,a\n7.05E+17,b\n")
    notes = report_of(import_dataset(TableReader(), tmp_path / "log.csv", tmp_path / "out")).notes
    assert "ids such as 7.04E+17: a spreadsheet has cut their digits" in notes[0]
    assert "each row is read as a watch of unknown length" in notes[1]


BARE = "user_id,item_id,watch\nu1,a,3\nu2,b,4\n"
WATCHED = [("u1", "a", "watch", 3.0), ("u2", "b", "watch", 4.0)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.csv", "sep=;\n" + BARE.replace(",", ";")),
        ("log.tsv", BARE),
        ("log.json", "\n \n        " + json.dumps([dict(zip(("user_id", "item_id", "watch"), row, strict=True))
                                                  for row in (("u1", "a", 3), ("u2", "b", 4))], indent=2)),
        ("log.json", json.dumps({"status": "ok", "rows": [{"user_id": "u1", "item_id": "a", "watch": 3},
                                                          {"user_id": "u2", "item_id": "b", "watch": 4}]}, indent=1)),
        ("log.json", '{"rows": [{"user_id": "u1", "item_id": "a", "watch": 3}, '
                     '{"user_id": "u2", "item_id": "b", "watch": 4}]}'),
    ],
)  # fmt: skip
def test_more_texts_of_many_hands(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert events(import_dataset(TableReader(), tmp_path / name, tmp_path / "out")) == WATCHED


def test_a_list_without_objects_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text('[["u1", "a"], ["u2", "b"]]')
    with pytest.raises(ReaderError, match="holds no list of JSON objects"):
        import_dataset(TableReader(), tmp_path / "log.json", tmp_path / "out")


def test_names_of_a_file_that_has_a_header_take_its_place(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,video\nu1,a\nu2,b\n")
    dataset = import_dataset(TableReader(names=("user_id", "item_id")), tmp_path / "log.csv", tmp_path / "out")
    assert [(user, item) for user, item, *_ in events(dataset)] == [("u1", "a"), ("u2", "b")]
    with pytest.raises(SchemaError, match="more than once"):
        import_dataset(TableReader(names=("user_id", "user_id")), tmp_path / "log.csv", tmp_path / "twice")


def test_a_folder_is_read_without_what_is_beside_the_log(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    beside = {
        "README.txt": "Hello, you.\nThis is it, the log.\n\nA, b, c\n",
        "notes.txt": "Hello there.\nWe did it.\n",
        "info.json": '{\n "version": 1\n}',
        "movies.csv": "id,title\na,A\n",
        "videos.csv": "id,title\nb,B\n",
    }
    for name, text in {**beside, "000000_0": BARE}.items():
        (raw / name).write_text(text)
    dataset = import_dataset(TableReader(), raw, tmp_path / "out")
    assert events(dataset) == WATCHED
    assert {one.file for one in report_of(dataset).skipped} == {*beside} - {"movies.csv"}


def test_a_hive_folder_of_nothing_gives_nothing(tmp_path: Path) -> None:
    for day, row in {"dt=__HIVE_DEFAULT_PARTITION__": "u1,a,3", "dt=2024-05-01": "u2,b,4"}.items():
        (tmp_path / "raw" / day).mkdir(parents=True)
        (tmp_path / "raw" / day / "x.csv").write_text(f"user_id,item_id,watch\n{row}\n")
    dataset = import_dataset(TableReader(), tmp_path / "raw", tmp_path / "out")
    times = dataset.events.select("occurred_at").collect().to_series().to_list()
    assert times == [None, datetime(2024, 5, 1, tzinfo=UTC)]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_tar_archives_are_unpacked(mode: Any, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "films", mode) as archive:
        for name, text in {"d/log.csv": BARE, "d/items.csv": "id,title\na,A\nb,B\n"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    with plain_files(tmp_path / "films") as plain:
        dataset = import_dataset(TableReader(), plain, tmp_path / "out")
    assert events(dataset) == WATCHED
    assert report_of(dataset).described_items == 2


def test_categories_are_the_words_that_they_stand_for(tmp_path: Path) -> None:
    words = {"user_id": ["u1", "u2"], "item_id": ["a", "b"], "watch": ["3", "4"], "timestamp": ["2024-05-01"] * 2}
    table = pl.DataFrame(words, schema=dict.fromkeys(words, pl.Categorical))
    table.write_parquet(tmp_path / "log.parquet")
    table.write_ipc_stream(tmp_path / "log.arrow")
    for at, name in enumerate(("log.parquet", "log.arrow")):
        dataset = import_dataset(TableReader(), tmp_path / name, tmp_path / f"out-{at}")
        assert events(dataset) == WATCHED
        assert dataset.manifest.first == 1714521600 * 10**6


def test_an_index_of_pandas_is_a_column(tmp_path: Path) -> None:
    table = pd.DataFrame({"user_id": ["u1", "u2"], "item_id": ["a", "b"], "watch": [3, 4]})
    assert events(import_tables(table.set_index("user_id"), tmp_path / "out")) == WATCHED
    with pytest.raises(ConfigError, match="name files"):
        import_tables(table, tmp_path / "no", TableReader(items="items.csv"))
    with pytest.raises(ConfigError, match="both user_id and item_id"):
        TableReader(columns={"user_id": "x", "item_id": "x"})


def test_what_was_put_together_or_split_by_lines_is_seen(tmp_path: Path) -> None:
    (tmp_path / "twice.csv").write_text("user_id,item_id\nu1,a\nuser_id,item_id\nu2,b\n")
    with pytest.raises(ReaderError, match="line 3, the row repeats the names of the columns"):
        import_dataset(TableReader(), tmp_path / "twice.csv", tmp_path / "refused")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "xaa.csv").write_text(BARE)
    (raw / "xab.csv").write_text("u3,c,5\nu4,d,6\n")
    dataset = import_dataset(TableReader(), raw, tmp_path / "out")
    assert events(dataset) == [*WATCHED, ("u3", "c", "watch", 5.0), ("u4", "d", "watch", 6.0)]


@pytest.mark.parametrize("late", ['{"user_id": {"id": 3}, "item_id": "a"}', '{"user_id": ["x", "y"], "item_id": "a"}'])
def test_an_object_is_no_id_however_late_it_comes(late: str, tmp_path: Path) -> None:
    lines = [json.dumps({"user_id": f"u{row % 9}", "item_id": "a"}) for row in range(10_001)]
    (tmp_path / "log.jsonl").write_text("\n".join([*lines, late]))
    with pytest.raises(ReaderError, match=r"line 10,002, column 'user_id' holds .*, not an id"):
        import_dataset(TableReader(), tmp_path / "log.jsonl", tmp_path / "out")


def test_a_first_line_of_values_is_told_from_a_header(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text(
        "user_1\t2009-05-04T23:08:57Z\tartist\tname\nuser_2\t2009-05-04T23:08:57Z\tx\ty\n"
    )
    with pytest.raises(SchemaError, match="if these are values, give the columns' names"):
        import_dataset(TableReader(), tmp_path / "log.tsv", tmp_path / "out")


def test_a_dataset_in_the_folder_of_its_log_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(BARE)
    import_dataset(TableReader(), tmp_path / "log.csv", tmp_path / "made")
    dataset = import_dataset(TableReader(), tmp_path, tmp_path.parent / f"{tmp_path.name}-again")
    assert events(dataset) == WATCHED
    assert [one.file for one in report_of(dataset).skipped] == ["made"]


def test_a_place_where_no_folder_can_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(BARE)
    with pytest.raises(StorageError, match=r"cannot be made: .*; name a place"):
        import_dataset(TableReader(), tmp_path / "log.csv", tmp_path / "log.csv" / "out")
