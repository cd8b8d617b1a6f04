"""A small traffic of requests and events for tests of the served log: what a client saw, and what it told."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from foveate.core.messages import Filters, RecommendRequest, RequestContext, Slate, SlateItem
from foveate.data.served.chain import parts_of, read_chain
from foveate.data.served.columns import COLUMNS, Table
from foveate.state.base import ImpressionStore, ServedRequest, ViewerEvent, ViewerStore

NOW = 1_780_000_000_000_000
"""UTC microseconds: in May 2026."""
SECOND = 1_000_000
FEATURES = 5


def shown(request_id: str, user: str, items: list[str], at: int = NOW, seed: int = 0) -> ServedRequest:
    """Return a slate of items as a server keeps it."""
    rng = np.random.default_rng(seed)
    slate = tuple(
        SlateItem(item, place, float(place) / 3, ("attention", "popularity"), rng.normal(size=FEATURES).astype("f4"))
        for place, item in enumerate(items)
    )
    context = RequestContext(request_id, at, "b1", at + SECOND, "home", 7, Filters())
    return ServedRequest(RecommendRequest(user), context, Slate(request_id, user, "b1", "mmr-1", "f1", slate))


@dataclass
class Traffic:
    """Requests of some viewers and what they did, told to a store; ``answers`` is which showing each event answers."""

    requests: dict[str, ServedRequest] = field(default_factory=dict)
    events: list[ViewerEvent] = field(default_factory=list)
    answers: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def happen(self, viewers: ViewerStore, impressions: ImpressionStore, requests: int, seed: int = 0) -> None:
        """Have so many requests more, each with some events."""
        draw = random.Random(seed)
        for number in range(len(self.requests), len(self.requests) + requests):
            at, user = NOW + number * 100 * SECOND, f"viewer-{draw.randrange(4)}"
            items = [f"item-{one}" for one in draw.sample(range(30), 4)]
            request = shown(f"r{number:04d}", user, items, at, seed=number)
            impressions.write([request])
            self.requests[request.slate.request_id] = request
            told = [self._event(draw, request, place, at) for place in range(4) if draw.random() < 0.6]
            if told:
                viewers.append(told)
                self.events += told

    def _event(self, draw: random.Random, request: ServedRequest, place: int, at: int) -> ViewerEvent:
        way = draw.choice(["impression", "request", "time", "none"])
        slate = request.slate
        item = slate.items[place].item_id if way != "none" else "never-shown"
        event = ViewerEvent(
            slate.user_id,
            item,
            draw.choice(["click", "watch", "like"]),
            round(draw.random() * 20, 3),
            at + (5 + place) * SECOND,
            f"e-{slate.request_id}-{place}",
            f"{slate.request_id}:{place}" if way == "impression" else None,
            request_id=slate.request_id if way == "request" else None,
        )
        self.answers[event.user_id, str(event.event_id)] = None if way == "none" else f"{slate.request_id}:{place}"
        return event


def rows(folder: Path, table: Table) -> pl.DataFrame:
    """Return all rows of a served log's table."""
    parts = [folder / part.path for part in parts_of(read_chain(folder)) if part.table == table]
    frames = [pl.read_parquet(part) for part in parts]
    return pl.concat([pl.DataFrame(schema=COLUMNS[table]), *frames])


def same_as_told(folder: Path, traffic: Traffic) -> None:
    """See that a served log holds what the client saw and told, row by row, each once."""
    impressions, events = rows(folder, "impressions"), rows(folder, "events")
    expected = {
        f"{name}:{item.position}": (name, one.slate.user_id, item.item_id, item.position, one.context.now, item)
        for name, one in traffic.requests.items()
        for item in one.slate.items
    }
    assert impressions["impression_id"].is_unique().all()
    assert set(impressions["impression_id"]) == set(expected)
    for row in impressions.iter_rows(named=True):
        name, user, item_id, position, at, item = expected[row["impression_id"]]
        assert (row["request_id"], row["user_id"], row["item_id"], row["position"]) == (name, user, item_id, position)
        assert row["shown_at"].timestamp() * 1e6 == at
        assert (row["surface"], row["bundle_id"], row["policy_id"], row["feature_schema"]) == (
            "home",
            "b1",
            "mmr-1",
            "f1",
        )
        assert row["features"] == item.features.tolist()
        assert (row["score"], row["candidate_sources"]) == (item.score, list(item.sources))
        # A deterministic place has no odds.
        assert row["propensity"] is None
    told = {(one.user_id, one.event_id): one for one in traffic.events}
    assert events.height == len(told)
    for row in events.iter_rows(named=True):
        key = row["user_id"], row["event_id"]
        one = told[key]
        assert (row["item_id"], row["kind"], row["value"]) == (one.item_id, one.kind, one.value)
        assert row["occurred_at"].timestamp() * 1e6 == one.occurred_at
        assert row["impression_id"] == traffic.answers[key]
        assert (row["joined_by"] is None) == (row["impression_id"] is None)


def bytes_of(folder: Path) -> bytes:
    """Return all bytes under a folder, those of Parquet files unpacked."""
    found = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            found.append(file.read_bytes())
            if file.suffix == ".parquet":
                found.append(pl.read_parquet(file).write_json().encode())
    return b"".join(found)


_KILLED = """
import os, sys
import foveate, foveate.served_log.erase

real, count = os.fsync, 0

def dying(handle):
    global count
    count -= 1
    # What the system was to put on the disk need not be there.
    os._exit(9) if not count else real(handle)

os.fsync = dying
for step in range(1, 200):
    count, child = step, os.fork()
    if not child:
        exec(sys.argv[1])
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        print(step)
        break
    if status != 9:
        sys.exit(f"step {step} ended with status {status}")
"""


def killed_at_each_step(code: str) -> int:
    """Run code in processes that die at their first wait for the disk, their second, and so on, until one goes through.

    Returns how many it took. They are forked of one, for importing takes a second.
    """
    command = [sys.executable, "-W", "ignore", "-c", _KILLED, code]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout)
