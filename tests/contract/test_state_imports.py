"""Histories of several logs in one store, of either kind: every event once, whatever was imported before."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from foveate.core.config import from_dict
from foveate.data.dataset import Dataset
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.base import Reader
from foveate.state.backup import backup_state, restore_state
from foveate.state.base import KeptEvent, ViewerEvent, ViewerStore
from foveate.state.connect import open_impressions, open_viewers
from foveate.state.copying import copy_state
from foveate.state.seeding import seed

HEAD = "user_id,item_id,occurred_at\n"
WEEK1 = ["ann,a,1700000000", "ann,b,1700000100", "bob,a,1700000200", "bob,c,1700000300"]
STRANGERS = ["cid,a,1700600000", "cid,b,1700600100", "dee,a,1700600200", "dee,c,1700600300"]
FRIENDS = ["ann,c,1700600000", "ann,a,1700600100", "bob,b,1700600200", "bob,a,1700600300"]
SAME_DAYS = ["ann,c,1700000000", "ann,d,1700000100", "bob,d,1700000200", "bob,b,1700000300"]


def log(folder: Path, name: str, rows: list[str], head: str = HEAD) -> Dataset:
    """Import a table of these rows."""
    raw = folder / f"{name}.csv"
    raw.write_text(head + "\n".join(rows) + "\n")
    return import_dataset(from_dict(Reader, "table"), raw, folder / name)


def order_only(folder: Path, name: str, rows: list[tuple[str, str]]) -> Dataset:
    raw = folder / f"{name}.parquet"
    pl.DataFrame(rows, schema=["user", "item"], orient="row").write_parquet(raw)
    return import_dataset(from_dict(Reader, "sequence"), raw, folder / name)


def everything(state: ViewerStore) -> list[tuple[str, str, str, int | None]]:
    """All events of the store, each as often as it is there."""
    held = [one.event for part in state.kept() for one in part]
    return sorted((one.user_id, one.item_id, one.kind, one.occurred_at) for one in held)


def expected(rows: list[str]) -> list[tuple[str, str, int | None]]:
    split = [row.split(",") for row in rows]
    return sorted((user, item, int(time) * 1_000_000) for user, item, time in split)


@pytest.mark.parametrize("second", [STRANGERS, FRIENDS, SAME_DAYS], ids=["strangers", "friends", "same days"])
def test_of_two_imports_every_event_is_kept_once(state: ViewerStore, second: list[str], tmp_path: Path) -> None:
    for name, rows in (("week1", WEEK1), ("week2", second)):
        seeded = seed(state, log(tmp_path, name, rows))
        assert (seeded.events, seeded.new, seeded.known) == (4, 4, False)
    assert [(user, item, time) for user, item, _, time in everything(state)] == expected(WEEK1 + second)


def test_overlapping_exports_count_shared_events_once(state: ViewerStore, tmp_path: Path) -> None:
    equal = ["ann,b,1700000100", "ann,b,1700000100"]
    seed(state, log(tmp_path, "week1", WEEK1))
    seeded = seed(state, log(tmp_path, "both", [*FRIENDS, *WEEK1]))
    assert (seeded.events, seeded.new) == (8, 4)
    assert [(user, item, time) for user, item, _, time in everything(state)] == expected(WEEK1 + FRIENDS)
    # What happened twice in the same second is two events, if the log says so.
    third = log(tmp_path, "thrice", [*WEEK1, *equal])
    assert seed(state, third).new == third.manifest.rows["events"] - 4


def test_the_cases_of_the_shared_folder_are_kept_whole(state: ViewerStore, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data.parent / "cases" / "state_two_imports"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    for name in ("week1", "week2"):
        assert seed(state, import_dataset(from_dict(Reader, "table"), folder / f"{name}.csv", tmp_path / name)).new == 4
    assert len(everything(state)) == 8


def test_the_same_log_a_second_time_adds_nothing_and_is_said(state: ViewerStore, tmp_path: Path) -> None:
    for number, make in enumerate((lambda name: log(tmp_path, name, WEEK1), lambda name: walks(tmp_path, name))):
        first, again = make(f"first{number}"), make(f"again{number}")
        assert seed(state, first).new == first.manifest.rows["events"]
        told = seed(state, again)
        assert (told.new, told.known) == (0, True)
        assert "imported before" in str(told)


def walks(folder: Path, name: str) -> Dataset:
    return order_only(folder, name, [("ann", "a"), ("ann", "b"), ("bob", "b"), ("bob", "a")])


def test_a_log_of_order_alone_stands_behind_what_is_there(state: ViewerStore, tmp_path: Path) -> None:
    seed(state, walks(tmp_path, "one"))
    seeded = seed(state, order_only(tmp_path, "two", [("ann", "a"), ("ann", "c"), ("bob", "a"), ("bob", "d")]))
    assert seeded.new == 4
    assert state.history("ann").item_ids == ("a", "b", "a", "c")
    assert state.history("bob").item_ids == ("b", "a", "a", "d")


def test_an_import_leaves_what_was_served_meanwhile(state: ViewerStore, tmp_path: Path) -> None:
    seed(state, log(tmp_path, "week1", WEEK1))
    state.append([ViewerEvent("ann", "z", "like", occurred_at=1_700_500_000_000_000, event_id="0")])
    seed(state, log(tmp_path, "week2", FRIENDS))
    assert state.history("ann").item_ids == ("a", "b", "z", "c", "a")


def test_an_id_belongs_to_a_viewer(state: ViewerStore) -> None:
    shared = [ViewerEvent(user, "a", "click", event_id="e1") for user in ("ann", "bob")]
    assert state.append(shared) == 2
    assert state.append(shared) == 0
    assert [state.history(user).item_ids for user in ("ann", "bob")] == [("a",), ("a",)]


def test_a_copy_keeps_events_that_share_ids(state: ViewerStore, store: str, tmp_path: Path) -> None:
    state.append(
        [
            ViewerEvent(f"u{number}", f"i{place}", "click", event_id=f"e{place}")
            for number in range(51)
            for place in range(2)
        ]
    )
    copied = copy_state(store, tmp_path / "copy")
    assert (copied.events, copied.new_events, copied.missing_events) == (102, 102, 0)
    with open_viewers(tmp_path / "copy") as other:
        assert everything(other) == everything(state)
        held = [one for part in state.kept() for one in part]
        assert other.holds(held) == 102
        assert other.holds([KeptEvent(ViewerEvent("u0", "i0", "click", event_id="no such"), 1, 1)]) == 0


def test_a_copy_takes_the_imports_along(state: ViewerStore, store: str, tmp_path: Path) -> None:
    week = log(tmp_path, "week1", WEEK1)
    seed(state, week)
    copy_state(store, tmp_path / "copy")
    with open_viewers(tmp_path / "copy") as other:
        assert seed(other, week).known


def test_a_backup_is_put_back_into_an_empty_store_and_into_one_that_serves(
    state: ViewerStore, store: str, tmp_path: Path
) -> None:
    seed(state, log(tmp_path, "week1", WEEK1))
    with open_impressions(store) as sink:
        sink.remember_bundle("b1", tmp_path / "bundle")
    before = everything(state)
    assert backup_state(store, tmp_path / "backup").events == 4
    erased = state.erase("ann").events
    state.append([ViewerEvent("bob", "z", "like", event_id="later")])
    # An erased viewer does not come back with an older backup.
    assert restore_state(tmp_path / "backup", store).new_events == 0
    assert len(everything(state)) == len(before) - erased + 1
    restore_state(tmp_path / "backup", tmp_path / "anew")
    with open_viewers(tmp_path / "anew", create=False) as anew, open_impressions(tmp_path / "anew") as sink:
        assert everything(anew) == before
        assert anew.imports() == state.imports()
        assert sink.bundle_path("b1") == tmp_path / "bundle"
