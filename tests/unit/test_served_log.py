"""The served log: what the client saw is in the export, row by row and once, whatever breaks off in between."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

import foveate
from foveate.core.errors import ConfigError, NotFoundError, OutputExistsError, ReaderError, StorageError
from foveate.data.served.chain import CHAIN, read_chain
from foveate.served_log.export import Exported
from foveate.state.base import ImpressionStore, ViewerEvent, ViewerStore
from foveate.state.connect import open_impressions, open_viewers
from served_world import NOW, SECOND, Traffic, killed_at_each_step, rows, same_as_told, shown


def export(store: str, out: Path, **more: object) -> Exported:
    return foveate.export_log(store, out, settle_s=0, **more)


def test_what_the_client_saw_is_exported_once(
    store: str, stores: tuple[ViewerStore, ImpressionStore], tmp_path: Path
) -> None:
    traffic, out = Traffic(), tmp_path / "log"
    traffic.happen(*stores, 12)
    first = export(store, out)
    assert (first.requests, first.impressions, first.events) == (12, 48, len(traffic.events))
    assert first.joined == sum(answer is not None for answer in traffic.answers.values())
    same_as_told(out, traffic)
    assert export(store, out) == Exported()
    assert len(read_chain(out)) == 1
    traffic.happen(*stores, 5, seed=1)
    assert export(store, out).requests == 5
    same_as_told(out, traffic)
    first_parts = {part.path for part in read_chain(out)[0].added}
    assert first_parts == {part for part in first_parts if (out / part).exists()}


def test_an_export_that_is_killed_at_any_step_ends_as_one_that_is_not(tmp_path: Path) -> None:
    """It is killed before each of its writes to the disk and after them, and the next one makes it whole."""
    store = str(tmp_path / "state.sqlite")
    traffic = Traffic()
    with open_viewers(store) as viewers, open_impressions(store) as impressions:
        traffic.happen(viewers, impressions, 6)
    out = tmp_path / "log"
    # Each step died once before the run went through.
    assert killed_at_each_step(f"foveate.export_log({store!r}, {str(out)!r}, settle_s=0)") > 8
    same_as_told(out, traffic)
    assert export(store, out) == Exported()
    assert not [
        path for path in out.rglob("*") if path.is_file() and path.name.startswith(".") and path.name != ".lock"
    ]
    known = {part.path for link in read_chain(out) for part in link.added}
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.parquet")} == known


def test_what_an_export_has_not_read_is_not_dropped(store: str, tmp_path: Path) -> None:
    short = (
        f"{store.partition('?')[0]}?history=2&past=0&timeout_s=5" if "redis" in store else f"{store}&history=2&past=0"
    )
    with open_viewers(short) as viewers, open_impressions(short) as impressions:
        export(short, tmp_path / "log")
        viewers.append([ViewerEvent("u", f"i{n}", "click", event_id=f"e{n}") for n in range(9)])
        impressions.write([shown("r1", "u", ["a"])])
        assert export(short, tmp_path / "log").events == 9
        viewers.append([ViewerEvent("u", "last", "click")])
        assert sum(len(part) for part in viewers.kept()) == 2
        name = viewers.exports()[0].name
        viewers.drop_export(name)
        with pytest.raises(NotFoundError):
            viewers.drop_export(name)


def test_events_are_joined_by_what_they_name_and_else_by_time(
    store: str, stores: tuple[ViewerStore, ImpressionStore], tmp_path: Path
) -> None:
    viewers, impressions = stores
    impressions.write(
        [
            shown("r1", "u", ["a", "b"], NOW),
            shown("r2", "u", ["a"], NOW + 3600 * SECOND),
            shown("r3", "v", ["a"], NOW),
            shown("r4", "", ["c"], NOW),
        ]
    )
    cases = {
        "named": (ViewerEvent("u", "b", "click", occurred_at=NOW + SECOND, impression_id="r1:1"), "r1:1"),
        "named-wrongly": (ViewerEvent("u", "a", "click", occurred_at=NOW + SECOND, impression_id="r1:1"), None),
        "anothers": (ViewerEvent("u", "a", "click", occurred_at=NOW + SECOND, impression_id="r3:0"), None),
        "before-the-login": (ViewerEvent("u", "c", "click", occurred_at=NOW + SECOND, impression_id="r4:0"), "r4:0"),
        "dropped-since": (ViewerEvent("u", "a", "click", occurred_at=NOW + SECOND, impression_id="r0:0"), "r0:0"),
        "by-request": (ViewerEvent("u", "a", "click", occurred_at=NOW + SECOND, request_id="r2"), "r2:0"),
        "not-in-it": (ViewerEvent("u", "b", "click", occurred_at=NOW + SECOND, request_id="r2"), None),
        "no-such-request": (ViewerEvent("u", "a", "click", occurred_at=NOW + SECOND, request_id="r9"), None),
        "first": (ViewerEvent("u", "a", "like", occurred_at=NOW + 60 * SECOND), "r1:0"),
        "latest": (ViewerEvent("u", "a", "like", occurred_at=NOW + 3601 * SECOND), "r2:0"),
        "late": (ViewerEvent("u", "b", "like", occurred_at=NOW + 23 * 3600 * SECOND), "r1:1"),
        "too-late": (ViewerEvent("u", "b", "like", occurred_at=NOW + 25 * 3600 * SECOND), None),
        "clock-behind": (ViewerEvent("v", "a", "like", occurred_at=NOW - 30 * SECOND), "r3:0"),
        "clock-far-behind": (ViewerEvent("v", "a", "like", occurred_at=NOW - 90 * SECOND), None),
        "not-theirs": (ViewerEvent("w", "a", "like", occurred_at=NOW + SECOND), None),
    }
    viewers.append([replace(event, event_id=name) for name, (event, _) in cases.items()])
    # Told twice, and once more with another time: the first one counts.
    again, _ = cases["first"]
    viewers.append([replace(again, event_id="first"), replace(again, event_id="first", occurred_at=NOW)])
    export(store, tmp_path / "log")
    found = rows(tmp_path / "log", "events")
    assert dict(found.select("event_id", "impression_id").iter_rows()) == {
        name: answer for name, (_, answer) in cases.items()
    }
    ways = dict(found.select("event_id", "joined_by").iter_rows())
    assert (ways["named"], ways["by-request"], ways["latest"]) == ("impression_id", "request_id", "time")


def test_requests_are_found_although_the_clock_jumps(tmp_path: Path) -> None:
    """The store's numbers say what is new, not the times: parts lie under the day that the clock said."""
    from foveate.state.sqlite.impressions import SqliteImpressions

    now = NOW
    with SqliteImpressions(tmp_path / "s", clock=lambda: now) as impressions:
        for name, jump in (("r1", 0), ("r2", -36 * 3600 * SECOND), ("r3", 1)):
            now += jump
            impressions.write([shown(name, "u", ["a"])])
            assert export(str(tmp_path / "s"), tmp_path / "log").requests == 1
    assert rows(tmp_path / "log", "impressions")["request_id"].to_list() == ["r1", "r2", "r3"]
    days = {part.date for link in read_chain(tmp_path / "log") for part in link.added}
    assert len(days) == 2


def test_pseudonyms_replace_viewers_ids(
    store: str, stores: tuple[ViewerStore, ImpressionStore], tmp_path: Path
) -> None:
    viewers, impressions = stores
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_bytes(b"k" * 32)
    other.write_bytes(b"o" * 32)
    impressions.write([shown("r1", "erika", ["a"])])
    viewers.append([ViewerEvent("erika", "a", "comment", event_id="erika-1", text="I am erika", impression_id="r1:0")])
    export(store, tmp_path / "log", pseudonyms=key)
    events, shows = rows(tmp_path / "log", "events"), rows(tmp_path / "log", "impressions")
    assert events["user_id"].to_list() == shows["user_id"].to_list()
    assert events["impression_id"].to_list() == ["r1:0"]
    assert b"erika" not in events.write_json().encode() + shows.write_json().encode()
    viewers.append([ViewerEvent("erika", "b", "click")])
    for wrong in (other, None):
        with pytest.raises(ConfigError, match="pseudonyms"):
            export(store, tmp_path / "log", pseudonyms=wrong)
    export(store, tmp_path / "log", pseudonyms=key)
    assert rows(tmp_path / "log", "events")["user_id"].n_unique() == 1
    (tmp_path / "short").write_bytes(b"k")
    with pytest.raises(ConfigError, match="fewer than 32"):
        export(store, tmp_path / "new", pseudonyms=tmp_path / "short")


def test_what_lies_before_a_moment_is_passed_over(
    store: str, stores: tuple[ViewerStore, ImpressionStore], tmp_path: Path
) -> None:
    Traffic().happen(*stores, 3)
    assert export(store, tmp_path / "log", since=1 << 61) == Exported()
    traffic = Traffic()
    later = shown("later", "u", ["a"])
    stores[1].write([later])
    traffic.requests["later"] = later
    export(store, tmp_path / "log")
    same_as_told(tmp_path / "log", traffic)


def test_a_folder_of_something_else_or_an_altered_chain_is_refused(tmp_path: Path) -> None:
    store, out = str(tmp_path / "s"), tmp_path / "log"
    with open_viewers(store) as viewers:
        viewers.append([ViewerEvent("u", "a", "click")])
        export(store, out)
        viewers.append([ViewerEvent("u", "b", "click")])
        export(store, out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(OutputExistsError):
        export(store, tmp_path / "full")
    with pytest.raises(ConfigError, match="on a disk"):
        foveate.export_log(store, "s3://bucket/log")
    with open_viewers(tmp_path / "other"):
        pass
    with pytest.raises(ReaderError, match="not signed by this store"):
        export(str(tmp_path / "other"), out)
    first = out / CHAIN / "000001.json"
    first.write_bytes(first.read_bytes().replace(b'"export"', b'"erasure"'))
    with pytest.raises(ReaderError, match=r"000002\.json' does not follow"):
        export(store, out)


def test_a_disk_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = str(tmp_path / "s")
    with open_viewers(store) as viewers:
        viewers.append([ViewerEvent("u", "a", "click")])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no matter")

    monkeypatch.setattr("foveate.served_log.export.write_durably", full)
    with pytest.raises(StorageError, match="log' cannot be written: No space left on device"):
        export(store, tmp_path / "log")
    monkeypatch.undo()
    monkeypatch.setattr("foveate.data.served.chain.write_durably", full)
    with pytest.raises(StorageError, match="No space left on device"):
        export(store, tmp_path / "log")
    monkeypatch.undo()
    assert export(store, tmp_path / "log").events == 1
