"""A dataset grows by what is new: old parts stay byte for byte, overlaps add once, and what is erased goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import foveate
from foveate.core.errors import ConfigError, DataError
from foveate.data.dataset import Dataset, open_dataset, verify_dataset
from foveate.data.importing.items import replace_items
from foveate.data.importing.stream import read_events
from foveate.data.signals import Signals
from foveate.state.base import ViewerEvent
from foveate.state.connect import open_impressions, open_viewers
from foveate.state.seeding import seed
from served_world import NOW, SECOND, Traffic, bytes_of, rows, shown

HEAD = "user_id,item_id,occurred_at,watch\n"
EARLY = [("ann", "a", 100, 9), ("ann", "b", 300, 8), ("bob", "a", 200, 7)]
LATE = [("ann", "b", 300, 8), ("ann", "c", 200, 5), ("cat", "d", 400, 4)]


def log(path: Path, rows: list[tuple[str, str, int, int]]) -> Path:
    path.write_text(HEAD + "".join(f"{user},{item},{time},{watch}\n" for user, item, time, watch in rows))
    return path


def parts(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.glob("*/**/*.parquet")}


def meetings(dataset: Dataset) -> set[tuple[object, ...]]:
    times = pl.col("occurred_at").dt.epoch("s")
    return set(dataset.events.select("user_id", "item_id", times, "value").collect().iter_rows())


def test_old_parts_stay_and_what_overlaps_is_added_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = foveate.append(data, log(tmp_path / "early.csv", EARLY))
    verify_dataset(data)
    before = parts(data)
    second = foveate.append(data, log(tmp_path / "late.csv", LATE))
    verify_dataset(data)
    assert {name: content for name, content in parts(data).items() if name in before} == before
    assert meetings(second) == {*EARLY, *LATE}
    assert second.manifest.rows == {"impressions": 0, "events": 5, "items": 4, "viewers": 3}
    assert (second.manifest.first, second.manifest.last) == (100_000_000, 400_000_000)
    one, other = second.manifest.growth
    assert (other.parent, other.known, dict(other.rows)) == (
        first.manifest.content_hash,
        1,
        {"impressions": 0, "events": 2},
    )
    assert second.manifest.content_hash == other.content_hash != one.content_hash
    assert second.events.select(pl.col("event_id").is_unique().all()).collect().item()
    # The same log again adds nothing, and changes nothing.
    again = foveate.append(data, tmp_path / "late.csv")
    assert again.manifest == second.manifest
    assert foveate.append(data, tmp_path / "early.csv").manifest == second.manifest


def test_each_viewer_has_one_order_of_time_whatever_came_later(tmp_path: Path) -> None:
    data = tmp_path / "data"
    foveate.append(data, log(tmp_path / "early.csv", EARLY))
    grown = foveate.append(data, log(tmp_path / "late.csv", LATE))
    whole = foveate.read(log(tmp_path / "all.csv", sorted({*EARLY, *LATE})), out=tmp_path / "whole")
    for dataset in (grown, whole):
        frame = dataset.log().frame
        assert frame.filter(user_id="ann")["item_id"].to_list() == ["a", "c", "b"]
        assert frame.filter(user_id="ann")["order"].to_list() == [0, 1, 2]
        events = read_events(dataset, dataset.catalog().items, Signals(), ("watch",))
        ann = dataset.users().code("ann")
        items = dataset.catalog().items.decode(events.item[events.user == ann])
        assert list(items) == ["a", "c", "b"]
    # Stored numbers are total for each viewer, too.
    stored = grown.events.select(pl.struct("user_id", "order").is_unique().all()).collect().item()
    assert stored


def test_an_append_that_breaks_off_leaves_the_dataset_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    before = foveate.append(data, log(tmp_path / "early.csv", EARLY))
    log(tmp_path / "late.csv", LATE)
    for place in ("_Append._write_tables", "_counted", "_written"):
        with monkeypatch.context() as broken:

            def fail(*_: object, **__: object) -> None:
                raise KeyboardInterrupt

            broken.setattr(f"foveate.data.importing.append.{place}", fail)
            with pytest.raises(KeyboardInterrupt):
                foveate.append(data, tmp_path / "late.csv")
        assert meetings(open_dataset(data)) == meetings(before)
    assert meetings(foveate.append(data, tmp_path / "late.csv")) == {*EARLY, *LATE}
    verify_dataset(data)
    assert not list(data.glob(".append.*/"))


def test_a_table_of_items_can_be_replaced_in_one_that_has_grown(tmp_path: Path) -> None:
    data = tmp_path / "data"
    foveate.append(data, log(tmp_path / "early.csv", EARLY))
    grown = foveate.append(data, log(tmp_path / "late.csv", LATE))
    (tmp_path / "items.csv").write_text("item_id,title\na,First\nd,Fourth\n")
    named = replace_items(grown, tmp_path / "items.csv")
    verify_dataset(data)
    assert named.manifest.content_hash != grown.manifest.content_hash
    more = foveate.append(data, log(tmp_path / "more.csv", [("dan", "a", 500, 1), ("dan", "e", 501, 1)]))
    verify_dataset(data)
    assert dict(more.items.select("item_id", "title").iter_rows())["d"] == "Fourth"
    (data / "events" / "0001" / "part-0000.parquet").write_bytes(b"")
    with pytest.raises(DataError):
        verify_dataset(data)


def test_what_was_served_is_imported_as_it_was_served(tmp_path: Path) -> None:
    store, served, data = str(tmp_path / "state.sqlite"), tmp_path / "log", tmp_path / "data"
    traffic = Traffic()
    with open_viewers(store) as viewers, open_impressions(store) as impressions:
        for number in range(3):
            traffic.happen(viewers, impressions, 8, seed=number)
            foveate.export_log(store, served, settle_s=0)
            dataset = foveate.append(data, served, reader="served")
    verify_dataset(data)
    shows = {row["impression_id"]: row for row in dataset.impressions.collect().iter_rows(named=True)}
    assert len(shows) == 24 * 4
    for name, one in traffic.requests.items():
        for item in one.slate.items:
            row = shows[f"{name}:{item.position}"]
            assert (row["request_id"], row["user_id"], row["item_id"]) == (name, one.slate.user_id, item.item_id)
            assert (row["position"], row["features"], row["feature_schema"]) == (
                item.position,
                item.features.tolist(),
                "f1",
            )
            assert (row["surface"], row["bundle_id"], row["policy_id"], row["propensity"]) == (
                "home",
                "b1",
                "mmr-1",
                None,
            )
            assert row["shown_at"].timestamp() * 1e6 == one.context.now
            assert row["candidate_sources"] == list(item.sources)
    events = {(row["user_id"], row["event_id"]): row for row in dataset.events.collect().iter_rows(named=True)}
    assert len(events) == len(traffic.events)
    for event in traffic.events:
        row = events[event.user_id, str(event.event_id)]
        assert (row["item_id"], row["kind"]) == (event.item_id, event.kind)
        assert row["value"] == pytest.approx(event.value)
        assert row["impression_id"] == traffic.answers[event.user_id, str(event.event_id)]
    assert dataset.manifest.own_event_ids
    # Each run read the new parts alone.
    assert [len(one.taken) for one in dataset.manifest.growth] == [2, 2, 2]
    assert foveate.append(data, served).manifest == dataset.manifest


def test_two_exports_of_one_store_that_overlap_are_added_once(tmp_path: Path) -> None:
    store, data = str(tmp_path / "state.sqlite"), tmp_path / "data"
    traffic = Traffic()
    with open_viewers(store) as viewers, open_impressions(store) as impressions:
        traffic.happen(viewers, impressions, 8)
        foveate.export_log(store, tmp_path / "one", settle_s=0)
        foveate.append(data, tmp_path / "one")
        traffic.happen(viewers, impressions, 4, seed=1)
    foveate.export_log(store, tmp_path / "other", settle_s=0)
    grown = foveate.append(data, tmp_path / "other")
    assert grown.manifest.rows["impressions"] == 12 * 4
    assert grown.manifest.rows["events"] == len(traffic.events)
    assert grown.manifest.growth[1].known > 0


@pytest.mark.parametrize("timed", [True, False])
def test_what_a_store_was_seeded_with_from_the_dataset_is_not_added_to_it(tmp_path: Path, timed: bool) -> None:
    store, data = tmp_path / "state.sqlite", tmp_path / "data"
    rows = [f"{user},{item}" + (f",{time},{watch}" if timed else "") for user, item, time, watch in [*EARLY, EARLY[0]]]
    (tmp_path / "base.csv").write_text("\n".join([HEAD.strip() if timed else "user_id,item_id", *rows]))
    base = foveate.append(data, tmp_path / "base.csv")
    assert not base.manifest.own_event_ids
    with open_viewers(store) as viewers:
        seed(viewers, base)
        viewers.append([ViewerEvent("ann", "a", "like", event_id="new")])
    assert foveate.export_log(store, tmp_path / "log", settle_s=0).events == base.manifest.rows["events"] + 1
    grown = foveate.append(data, tmp_path / "log")
    assert grown.manifest.rows["events"] == base.manifest.rows["events"] + 1
    assert dict(grown.manifest.growth[1].rows) == {"impressions": 0, "events": 1}
    # And the other way round: seeded anew, the store gets nothing of what came from it.
    with open_viewers(store) as viewers:
        assert seed(viewers, grown).new == 0
        assert seed(viewers, grown).known


def test_an_erased_viewer_goes_from_the_dataset_with_the_next_append(tmp_path: Path) -> None:
    store, served, data = str(tmp_path / "state.sqlite"), tmp_path / "log", tmp_path / "data"
    base = log(tmp_path / "base.csv", [("ann", "a", 100, 9), ("bob", "b", 200, 7)])
    foveate.append(data, base)
    kept = parts(data)
    with open_viewers(store) as viewers, open_impressions(store) as impressions:
        for number, user in enumerate(("erika", "u", "v")):
            impressions.write([shown(f"r{number}", user, ["a", "b"], NOW), shown(f"s{number}", "", ["c"], NOW)])
            viewers.append(
                [
                    ViewerEvent(user, "a", "click", occurred_at=NOW + SECOND, event_id=f"{user}-1"),
                    ViewerEvent(user, "c", "like", occurred_at=NOW + SECOND, impression_id=f"s{number}:0"),
                ]
            )
            foveate.export_log(store, served, settle_s=0)
            foveate.append(data, served)
    before = open_dataset(data)
    # What an anonymous visitor was shown is the viewer's whose events name it.
    assert before.impressions.filter(user_id="v").select("item_id").collect()["item_id"].to_list() == ["a", "b", "c"]
    foveate.erase_viewer(store, "erika")
    after = foveate.append(data, served)
    verify_dataset(data)
    assert b"erika" not in bytes_of(data)
    assert set(after.viewers["user_id"]) == {"ann", "bob", "u", "v"}
    assert after.manifest.rows["events"] == before.manifest.rows["events"] - 2
    assert after.manifest.rows["impressions"] == before.manifest.rows["impressions"] - 3
    left = parts(data)
    assert {name: left[name] for name in kept if "/" in name and not name.endswith("0001")} == {
        name: kept[name] for name in kept
    }
    assert foveate.append(data, served).manifest == after.manifest


def test_the_verb_says_what_there_is_and_refuses_an_address(tmp_path: Path) -> None:
    from foveate_cli.data import command

    log(tmp_path / "early.csv", EARLY)
    ran = CliRunner().invoke(command, ["append", str(tmp_path / "data"), "table", str(tmp_path / "early.csv")])
    assert ran.exit_code == 0, ran.output
    assert "events" in ran.output
    refused = CliRunner().invoke(command, ["append", "s3://bucket/data", str(tmp_path / "early.csv")])
    assert isinstance(refused.exception, ConfigError)
    with pytest.raises(ConfigError, match="on a disk"):
        foveate.append("s3://bucket/data", tmp_path / "early.csv")


def test_known_odds_are_carried_from_the_record_to_the_dataset(tmp_path: Path) -> None:
    """A place that was drawn has its slot policy and its propensity; the policy of the slate stays in the export."""
    store = str(tmp_path / "state.sqlite")
    plain, other = shown("r1", "viewer", ["item-1", "item-2"]), shown("r2", "another", ["item-2", "item-3"])
    drawn = replace(plain.slate.items[1], policy="uniform_slots-1", propensity=0.25)
    explored = replace(plain, slate=replace(plain.slate, items=(plain.slate.items[0], drawn)))
    with open_viewers(store), open_impressions(store) as impressions:
        impressions.write([explored, other])
        foveate.export_log(store, tmp_path / "log", settle_s=0)
    exported = rows(tmp_path / "log", "impressions").filter(request_id="r1").sort("position")
    own = [("mmr-1", None, None), ("mmr-1", "uniform_slots-1", 0.25)]
    assert exported.select("policy_id", "policy", "propensity").rows() == own
    shows = foveate.append(tmp_path / "data", tmp_path / "log").impressions.collect()
    odds = shows.filter(request_id="r1").sort("position").select("policy_id", "propensity").rows()
    assert odds == [("mmr-1", None), ("uniform_slots-1", 0.25)]
