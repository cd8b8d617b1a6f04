"""SQLite files of older versions: they are brought up to date with all that they hold."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from foveate.core.config import from_dict, to_dict
from foveate.core.messages import Filters, RecommendRequest, RequestContext
from foveate.data.dataset import Dataset
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.base import Reader
from foveate.data.schema import EVENT_KINDS
from foveate.state.base import ViewerEvent
from foveate.state.seeding import seed
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.schema import APPLICATION_ID
from foveate.state.sqlite.store import SqliteState

VERSION_3 = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, impression_id TEXT, user_id TEXT NOT NULL,
    item_id TEXT NOT NULL, kind TEXT NOT NULL, value REAL NOT NULL, text TEXT, occurred_at INTEGER,
    received_at INTEGER NOT NULL) STRICT;
CREATE TABLE requests (
    request_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, bundle_id TEXT NOT NULL, policy_id TEXT NOT NULL,
    feature_schema TEXT NOT NULL, state_version INTEGER NOT NULL, request TEXT NOT NULL, context TEXT NOT NULL,
    relaxed TEXT NOT NULL, relevance_paid REAL, degraded TEXT NOT NULL DEFAULT '[]') STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_user ON requests (user_id);
CREATE TABLE impressions (
    impression_id TEXT PRIMARY KEY, request_id TEXT NOT NULL, user_id TEXT NOT NULL, item_id TEXT NOT NULL,
    position INTEGER NOT NULL, surface TEXT NOT NULL, shown_at INTEGER NOT NULL, bundle_id TEXT NOT NULL,
    policy_id TEXT NOT NULL, propensity REAL, feature_schema TEXT NOT NULL, features BLOB NOT NULL,
    candidate_sources TEXT NOT NULL, score REAL) STRICT;
CREATE INDEX impressions_by_request ON impressions (request_id, position);
CREATE INDEX impressions_by_user ON impressions (user_id);
CREATE TABLE bundles (bundle_id TEXT PRIMARY KEY, path TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX events_by_id ON events (event_id);
CREATE INDEX events_by_user ON events (user_id);
"""
IMPORTED_AT = 1_700_700_000_000_000


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of version 3 with a bundle, nothing else."""
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(VERSION_3)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute("PRAGMA user_version=3")
        connection.execute("INSERT INTO bundles VALUES ('b1', '/bundle')")
    return path


def put_request(path: Path, request_id: str) -> None:
    """Write a served request as version 3 did."""
    context = RequestContext(request_id, 5, "b1", 9, "home", 7, Filters())
    features = np.array([1.5, np.nan], dtype="<f4").tobytes()
    rows = [
        (
            f"{request_id}:{place}",
            request_id,
            "u",
            item,
            place,
            "home",
            5,
            "b1",
            "p",
            None,
            "f",
            features,
            '["mf"]',
            score,
        )
        for place, (item, score) in enumerate([("x", 0.5), ("y", None)])
    ]
    request = (json.dumps(to_dict(RecommendRequest("u"))), json.dumps(to_dict(context)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO requests (request_id, user_id, bundle_id, policy_id, feature_schema, state_version, request,"
            " context, relaxed) VALUES (?, 'u', 'b1', 'p', 'f', 3, ?, ?, '[\"fresh\"]')",
            (request_id, *request),
        )
        connection.executemany("INSERT INTO impressions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def put_dataset(path: Path, dataset: Dataset) -> None:
    """Write a dataset's events as version 3 imported them: known by the numbers of their rows."""
    frame = dataset.events.sort("user_id", "order").collect()
    with closing(sqlite3.connect(path)) as connection, connection:
        for user, item, kind, time, event_id in frame.select(
            "user_id", "item_id", pl.col("kind").cast(pl.String), pl.col("occurred_at").dt.timestamp("us"), "event_id"
        ).iter_rows():
            connection.execute(
                "INSERT INTO events (event_id, user_id, item_id, kind, value, occurred_at, received_at)"
                " VALUES (?, ?, ?, ?, 1, ?, ?)",
                (event_id, user, item, kind, time, IMPORTED_AT),
            )


def week(folder: Path, name: str, start: int) -> Dataset:
    raw = folder / f"{name}.csv"
    rows = [f"{user},{item},{start + place},1" for place, (user, item) in enumerate(["ua", "va", "ub", "vb"])]
    raw.write_text("user_id,item_id,occurred_at,like\n" + "\n".join(rows) + "\n")
    return import_dataset(from_dict(Reader, "table"), raw, folder / name)


def test_a_record_of_version_3_comes_back_whole(old: Path) -> None:
    put_request(old, "r1")
    with SqliteImpressions(old) as sink:
        served = sink.read("r1")
        assert sink.request_ids() == ["r1"]
        assert sink.bundle_path("b1") == Path("/bundle")
    slate = served.slate
    assert (served.request.user_id, served.context.now, slate.state_version) == ("u", 5, 3)
    assert (slate.relaxed, slate.relevance_paid, slate.degraded) == (("fresh",), None, ())
    assert [(one.item_id, one.position, one.sources) for one in slate.items] == [("x", 0, ("mf",)), ("y", 1, ("mf",))]
    assert slate.items[0].score == 0.5
    assert np.isnan(slate.items[1].score)
    np.testing.assert_array_equal(slate.items[0].features, np.array([1.5, np.nan], dtype=np.float32))


def test_a_file_of_the_first_version_is_brought_up_to_date(old: Path) -> None:
    """It has no columns for a slate's costs and what stood in: its records keep that open."""
    put_request(old, "before")
    with closing(sqlite3.connect(old)) as connection, connection:
        for column in ("relevance_paid", "degraded"):
            connection.execute(f"ALTER TABLE requests DROP COLUMN {column}")
        connection.execute("PRAGMA user_version=1")
    for _ in range(2):
        with SqliteImpressions(old) as sink:
            assert sink.read("before").slate.relevance_paid is None
            assert sink.read("before").slate.degraded == ()


def test_imported_events_are_known_again_after_the_upgrade(old: Path, tmp_path: Path) -> None:
    first, second = week(tmp_path, "one", 1_700_000_000), week(tmp_path, "two", 1_700_600_000)
    put_dataset(old, first)
    with SqliteState(old) as state:
        assert seed(state, first).new == 0
        assert seed(state, second).new == second.manifest.rows["events"]


def test_events_of_clients_keep_their_ids_in_the_upgrade(old: Path) -> None:
    like = EVENT_KINDS.index("like")
    ids = [str(10 * number + like) for number in range(3)] + ["17", "a1"]
    with closing(sqlite3.connect(old)) as connection, connection:
        for place, event_id in enumerate(ids):
            # Three came alone, each with an id that a row could have; the last two came together.
            connection.execute(
                "INSERT INTO events (event_id, user_id, item_id, kind, value, occurred_at, received_at)"
                " VALUES (?, 'u', 'x', 'like', 1, ?, ?)",
                (event_id, place, min(place, 3)),
            )
    with SqliteState(old) as state:
        assert state.append([ViewerEvent("u", "x", "like", event_id=event_id) for event_id in ids]) == 0
        assert state.append([ViewerEvent("v", "x", "like", event_id=ids[0])]) == 1


def test_a_file_whose_server_was_killed_opens_again_after_it_was_brought_up_to_date(old: Path, tmp_path: Path) -> None:
    """Pages of the new tables may have been others' pages in the log that the killed server left."""
    with closing(sqlite3.connect(old, isolation_level=None)) as before:
        before.execute("PRAGMA wal_autocheckpoint=0")
        for number in range(300):
            put_request(old, f"r{number}")
        before.execute("DELETE FROM impressions WHERE request_id > 'r15'")
        left = tmp_path / "left"
        left.mkdir()
        for suffix in ("", "-wal"):
            (left / f"state{suffix}").write_bytes(old.with_name(old.name + suffix).read_bytes())
    reading = closing(sqlite3.connect(left / "state", isolation_level=None))
    with SqliteImpressions(left / "state") as one, reading as reader:
        # A reader keeps the log from beginning anew while all of it is written into the file.
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM requests").fetchone()
        with closing(sqlite3.connect(left / "state")) as other:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        with SqliteImpressions(left / "state", create=False) as another:
            assert another.request_ids(3) == one.request_ids(3)
