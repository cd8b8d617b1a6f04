"""Small logs of the kinds that people report: each is read as a person would write it down, or refused in one line."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from foveate.core.config import from_dict
from foveate.core.errors import ReaderError
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.base import Reader

WATCHED = "watch"
UNKNOWN = None
"""Seconds that nobody knows."""


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True)
class Case:
    """What a person reads in a file: events as (viewer, item, kind, value, time), and what is known of items."""

    events: list[tuple[Any, ...]] = field(default_factory=list)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    reader: str = "table"
    settings: dict[str, Any] = field(default_factory=dict)
    refused: str = ""
    skipped: tuple[str, ...] = ()


def watches(*rows: tuple[str, str, float | None]) -> list[tuple[Any, ...]]:
    return [(user, item, WATCHED, value, None) for user, item, value in rows]


TWO = watches(("u1", "a", 3.0), ("u2", "b", 4.0))
ITEMS = {"items": "items.csv"}
CASES: dict[str, Case] = {
    "a2_bom.jsonl": Case(watches(("u1", "a", UNKNOWN), ("u2", "b", UNKNOWN))),
    "a3_hcomma.csv": Case(TWO),
    "a4_hnewline.csv": Case(TWO),
    "a7_gz.csv": Case(
        [
            ("u1", "a", WATCHED, 3.0, at(1700000000)),
            ("u2", "b", WATCHED, 3.0, at(1700000100)),
            ("u1", "b", WATCHED, 4.0, at(1700000200)),
        ]
    ),
    "a8_big53f.jsonl": Case(
        watches(("9007199254740993", "1", UNKNOWN), ("9007199254740992", "2.5", UNKNOWN), ("1.5", "2", UNKNOWN))
    ),
    "a8_float": Case(
        [
            ("1", "10", WATCHED, UNKNOWN, at(1700000000)),
            ("2", "11", WATCHED, UNKNOWN, at(1700000100)),
            ("1", "11", WATCHED, UNKNOWN, at(1700000200)),
        ],
        {"10": {"title": "Ten", "categories": ["x"]}, "11": {"title": "Eleven", "categories": ["y"]}},
        settings=ITEMS,
    ),
    "a8_latekey.jsonl": Case(watches(("18", "b", 3.75))),
    "a8_latenull.jsonl": Case(
        [*watches(*[("17", "a", UNKNOWN)] * 10_050), ("18", "b", WATCHED, UNKNOWN, at(1700000000))]
    ),
    "emptypart": Case(TWO, skipped=("part-2.csv",)),
    "f_f10.csv": Case([("u1", "a", "like", 1.0, None)]),
    "f_y.csv": Case([("u1", "a", "like", 1.0, None)]),
    "i_date": Case(
        settings=ITEMS, refused=r"'items\.csv'.*line 3, column 'safety' holds \"high\", not a number from 0"
    ),
    "i_dur": Case(
        watches(("u1", "10", UNKNOWN), ("u2", "11", UNKNOWN)),
        {"10": {"duration_seconds": 300.0}, "11": {"duration_seconds": 12.0}},
        settings=ITEMS,
    ),
    "i_float": Case(
        watches(("u1", "10", UNKNOWN), ("u2", "11", UNKNOWN)),
        {"10": {"title": "A", "categories": ["x"]}, "11": {"title": "B", "categories": ["y"]}},
        settings=ITEMS,
    ),
    "i_i32pub": Case(
        watches(("u1", "a", UNKNOWN), ("u2", "b", UNKNOWN), ("u1", "b", UNKNOWN)),
        {"a": {"published_at": at(1600000000)}, "b": {"published_at": at(1650000000)}},
        settings={"items": "items.parquet"},
    ),
    "i_space": Case(
        watches(("u1", "10", UNKNOWN), ("u2", "11", UNKNOWN)),
        {"10": {"categories": ["Action", "Comedy"]}, "11": {"categories": ["Comedy", "Action"]}},
        settings=ITEMS,
    ),
    "junk": Case(watches(("u1", "a", 3.0), ("u2", "b", 3.0)), skipped=("._part-0.csv", "_SUCCESS")),
    "kinds.csv": Case(TWO, settings={"kinds": {"video.play": "watch"}}),
    "num0.csv": Case(TWO, settings={"columns": {"user_id": "0", "item_id": "1", "watch": "2"}}),
    "p_Int32.parquet": Case(
        [
            ("u1", "a", WATCHED, UNKNOWN, at(1700000000)),
            ("u2", "b", WATCHED, UNKNOWN, at(1700000100)),
            ("u1", "b", WATCHED, UNKNOWN, at(1700000200)),
        ]
    ),
    "p_dur.parquet": Case(watches(("u1", "a", 5.0), ("u2", "b", 5.0), ("u1", "b", 5.0))),
    "p_likenan.parquet": Case([("u1", "a", "like", 1.0, None)]),
    "rb_ms.inter": Case(
        [("1", "a", WATCHED, UNKNOWN, at(1700000000)), ("2", "b", WATCHED, UNKNOWN, at(1700000100))], reader="recbole"
    ),
    "state_two_imports": Case(
        [
            (user, item, WATCHED, UNKNOWN, at(start + 100 * step))
            for start, users in ((1700000000, ("ann", "bob")), (1700600000, ("cid", "dee")))
            for step, (user, item) in enumerate([(users[0], "a"), (users[0], "b"), (users[1], "a"), (users[1], "c")])
        ]
    ),
    "t_dmyamb.csv": Case(refused=r"line 2, column 'occurred_at' holds \"03/04/2024 10:00:00\".*date_order=dmy or"),
    "t_ms.csv": Case([("u1", "a", WATCHED, UNKNOWN, at(1700000000)), ("u2", "b", WATCHED, UNKNOWN, at(1700000001))]),
    "t_null.csv": Case([("u1", "a", WATCHED, UNKNOWN, None), ("u2", "b", WATCHED, UNKNOWN, at(1700000001))]),
    "t_sci.csv": Case([("u1", "a", WATCHED, UNKNOWN, at(1700000000)), ("u2", "b", WATCHED, UNKNOWN, at(1700000010))]),
    "t_ymd.csv": Case(
        [
            ("u1", "a", WATCHED, UNKNOWN, datetime(2024, 1, 1, tzinfo=UTC)),
            ("u2", "b", WATCHED, UNKNOWN, datetime(2024, 1, 2, tzinfo=UTC)),
        ]
    ),
    "x_leadblank.csv": Case(TWO),
}


@pytest.fixture(scope="module")
def cases(repository: Path) -> Path:
    root = Path(os.environ.get("FOVEATE_CASES", repository.parent / "shared" / "cases"))
    if not root.is_dir():
        pytest.skip(f"no cases at {root}: set FOVEATE_CASES to their folder")
    return root


def test_every_case_is_in_the_table(cases: Path) -> None:
    assert {path.name for path in cases.iterdir()} == set(CASES)


@pytest.mark.parametrize("name", list(CASES))
def test_a_case_is_read_as_a_person_would(name: str, cases: Path, tmp_path: Path) -> None:
    case = CASES[name]
    reader = from_dict(Reader, {"name": case.reader, **case.settings})
    if case.refused:
        with pytest.raises(ReaderError, match=case.refused) as refused:
            import_dataset(reader, cases / name, tmp_path / "out")
        assert "\n" not in str(refused.value)
        return
    dataset = import_dataset(reader, cases / name, tmp_path / "out")
    found = dataset.events.select("user_id", "item_id", "kind", "value", "occurred_at").collect().rows()
    assert sorted(found, key=str) == sorted(case.events, key=str)
    items = {item["item_id"]: item for item in dataset.items.to_dicts()}
    assert {item for _, item, *_ in case.events} <= set(items)
    for item, facts in case.items.items():
        assert {name: items[item][name] for name in facts} == facts
    report = dataset.manifest.source
    assert report is not None
    assert tuple(one.file for one in report.skipped) == case.skipped
    if case.items:
        assert (report.described_items, report.unmet_items) == (len(case.items), 0)


def test_two_columns_without_names_are_read_by_their_place(cases: Path, tmp_path: Path) -> None:
    dataset = import_dataset(from_dict(Reader, {"name": "table"}), cases / "num0.csv", tmp_path / "out")
    events = dataset.events.collect()
    assert list(zip(events["user_id"], events["item_id"], strict=True)) == [("u1", "a"), ("u2", "b")]
    assert dataset.manifest.source is not None
    assert {column.how for column in dataset.manifest.source.columns} == {"guessed"}


def test_kinds_that_people_use_are_known(cases: Path, tmp_path: Path) -> None:
    dataset = import_dataset(from_dict(Reader, {"name": "table"}), cases / "kinds.csv", tmp_path / "out")
    assert dataset.events.collect()["kind"].to_list() == ["watch", "watch"]
    assert dataset.manifest.source is not None
    assert "'video.play' are read as 'watch'" in dataset.manifest.source.notes[0]
