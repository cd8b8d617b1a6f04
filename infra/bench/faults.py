"""What a steady stream of requests sees of every kind of trouble: a real cluster of three nodes, real kills.

Two replicas of each stage are asked for slates 20 times a second, and given events 10 times a second, while one thing
after the other goes wrong. The table says for each how many requests failed, with what status, how many slates had
something stand in for a stage, and how long the slowest good answer took. A request that was under way in a process
that is killed -9 may fail, if the kill struck between the reading of its body and its answer; nothing else may. Events
that cannot be stored are refused with 503 and a time to try again, which is an answer and no failure. At the end every
event that was acknowledged must be in the store, once.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from foveate.bundle import Bundle
from foveate.state.connect import open_viewers
from lab.served import CONFIG, SETTINGS, Served, UnavailableError, copied
from lab.serving_world import World, serving_world
from lab.steady import Steady, summary
from lab.troubles import TROUBLES

PER_SECOND = 20.0
EVENTS_PER_SECOND = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, help="keep the served world here, for the next run")
    parser.add_argument("--only", action="append", default=[], metavar="TROUBLE", choices=[*TROUBLES])
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    acknowledged = kept_once = 0
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        world = serving_world(options.scratch or Path(scratch) / "world")
        for setting in SETTINGS:
            names = [name for name in options.only or TROUBLES if TROUBLES[name].setting == setting]
            if not names:
                continue
            folder = Path(scratch) / setting
            folder.mkdir()
            try:
                found, stored, given = _in_setting(setting, names, copied(world, folder), folder)
            except UnavailableError as error:
                rows += [{"trouble": name, "requests": f"not run: {error}"} for name in names]
                continue
            rows += found
            acknowledged, kept_once = acknowledged + given, kept_once + stored
    head = ["trouble", "slates", "failed", "how", "stood in", "slowest", "events", "failed", "told to wait"]
    print("| " + " | ".join(head) + " |")
    print("|---|---:|---:|---|---|---:|---:|---:|---:|")
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")
    print(f"acknowledged events {acknowledged:,}, in the store once {kept_once:,}")
    figures = {
        "slates_failed": sum(row.get("failed", 0) for row in rows),
        "events_failed": sum(row.get("events failed", 0) for row in rows),
        "events_lost": acknowledged - kept_once,
        "rows_not_run": sum("failed" not in row for row in rows),
    }
    for name, value in figures.items():
        print(f"ratio faults_{name} {value} goal <= 0")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def _in_setting(setting: str, names: list[str], world: World, folder: Path) -> tuple[list[dict[str, Any]], int, int]:
    """Return the rows of one setting, how many acknowledged events its store holds once, and how many there were."""
    with SETTINGS[setting](world, folder) as served:
        with (
            Steady(f"{served.url}/v1/recommend", world.users, PER_SECOND).running() as slates,
            Steady(f"{served.url}/v1/events", world.users, EVENTS_PER_SECOND, _event(world)).running() as events,
        ):
            time.sleep(3.0)
            rows = [_row(name, served, slates, events) for name in names]
        acknowledged = {f"fault-{one.number}" for one in events.answers if one.status == 200}
        counts: dict[str, int] = {}
        for name in _stored(served):
            counts[name] = counts.get(name, 0) + 1
        return rows, sum(counts.get(one) == 1 for one in acknowledged), len(acknowledged)


def _event(world: World) -> Callable[[int, str], dict[str, Any]]:
    """Return what posts the n-th event: one of its own id, of an item that exists."""
    items = Bundle.load(world.bundle).model.catalog.items.ids

    def event(number: int, user: str) -> dict[str, Any]:
        what = {"user_id": user, "item_id": str(items[number % len(items)]), "kind": "like"}
        return {"events": [{**what, "event_id": f"fault-{number}"}]}

    return event


def _stored(served: Served) -> Iterator[str]:
    """Yield the id of every event of this bench that the store holds."""
    if isinstance(served.state, Path):
        with sqlite3.connect(served.state) as database:
            rows = database.execute("SELECT event_id FROM events WHERE event_id LIKE 'fault-%'").fetchall()
        database.close()
        yield from (name for (name,) in rows)
        return
    with open_viewers(served.state, create=False) as store:
        for part in store.kept():
            names = (one.event.event_id or "" for one in part)
            yield from (name for name in names if name.startswith("fault-"))


def _row(name: str, served: Served, load: Steady, events: Steady) -> dict[str, Any]:
    began = time.monotonic()
    try:
        TROUBLES[name].bring(served)
    except UnavailableError as error:
        print(f"{name}: not run: {error}", flush=True)
        return {"trouble": name, "requests": f"not run: {error}"}
    # What was asked in the midst of it must have been answered.
    time.sleep(CONFIG.deadline_ms / 1e3 + 1.0)
    answers = load.since(began)
    failed, how, stood_in = summary(answers)
    slowest = max((one.milliseconds for one in answers if one.status == 200), default=float("nan"))
    given = events.since(began)
    row = {
        "trouble": name,
        "requests": len(answers),
        "failed": failed,
        "how": how,
        "stood in": stood_in,
        "slowest": f"{slowest:,.0f} ms",
        "events": len(given),
        "events failed": sum(one.status != 200 and not one.retry_after for one in given),
        "told to wait": sum(one.retry_after for one in given),
    }
    print(f"{name}: {row}", flush=True)
    return row


if __name__ == "__main__":
    main()
