"""Items that are put and withdrawn while a server answers: how soon they show, and what that costs the others.

A bundle is served ``split``, ``fused`` and in three shards. Some items are put, in pairs that go together, and one of
each pair is withdrawn again: measured is from the acknowledgement until it is in each of ten answers in a row, or in
none. Then 2,000 slates are asked for while items are put and withdrawn at 50 a second and another bundle is taken: none
may fail. At last, ``fused``, the throughput with 10,000 new items over the catalogue is measured beside that without,
in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from foveate.bundle import Bundle
from foveate.core.grouped import in_parts
from foveate.data.schema import ITEM_ID
from foveate.state.connect import open_items
from foveate.state.overlay import items_of
from foveate_cluster.ray_cluster import usable_cpus
from foveate_serve.app import deploy, start, started
from foveate_serve.config import DeploymentConfig, ServeConfig, ShardsConfig
from foveate_serve.operations.running import Running
from lab.load import closed, opened
from lab.serving_world import SLATE, World, serving_world

CLIENTS, ITEMS, REQUESTS, PER_SECOND, OVERLAID = 32, 10, 2_000, 50, 10_000
PATIENCE_S = 30.0


def facts_of(bundle: Bundle, number: int) -> dict[str, Any]:
    """What is known of a new item: what is known of an old one."""
    row = bundle.model.catalog.frame.row(number % len(bundle.model.catalog), named=True)
    return {name: row[name] for name in ("title", "channel_id", "categories", "tags", "duration_seconds")}


def shown_after(http: httpx.Client, bundle: Bundle, number: int) -> tuple[float, float]:
    """Return the seconds until an item that is put shows everywhere, and until one that is withdrawn shows nowhere.

    Two items that share a tag of their own are put at once: each is then related to the other before all else.
    """
    names = [f"tried-{number}-{one}" for one in "ab"]
    items = [{"item_id": name, **facts_of(bundle, number), "tags": [f"tried-{number}"]} for name in names]
    body, seconds = {"surface": "related", "related_to": names[0], "k": 20}, []
    for there in (True, False):
        asked = http.post("/v1/items", json={"items": items}) if there else http.delete(f"/v1/items/{names[1]}")
        asked.raise_for_status()
        began, right = time.perf_counter(), 0
        first = began
        while right < 10:
            answer = http.post("/v1/recommend", json=body)
            # A replica that does not know the first yet cannot start from it.
            found = answer.is_success and names[1] in {item["item_id"] for item in answer.json()["items"]}
            if found is not there:
                right, first = 0, time.perf_counter()
                if first - began > PATIENCE_S:
                    raise RuntimeError(
                        f"{names[1]} is {'' if there else 'still '}not as it should be: {answer.text[:300]}"
                    )
            else:
                right += 1
        seconds.append(first - began)
    return seconds[0], seconds[1]


def failures(running: Running, world: World, swap: Callable[[], None], bundle: Bundle) -> int:
    """Return how many of the requests failed while items changed and the bundle was swapped."""
    over, url = threading.Event(), running.url()

    def change() -> None:
        with httpx.Client(base_url=url, timeout=60) as http:
            began, number = time.perf_counter(), 0
            while not over.is_set():
                item = f"/v1/items/busy-{number // 2}"
                facts = None if number % 2 else facts_of(bundle, number)
                http.request("DELETE" if number % 2 else "PUT", item, json=facts).raise_for_status()
                number += 1
                time.sleep(max(0.0, began + number / PER_SECOND - time.perf_counter()))

    changing = threading.Thread(target=change)
    changing.start()
    try:
        swapping = threading.Timer(3.0, swap)
        swapping.start()
        asks = [json.dumps({"user_id": user, "k": SLATE}).encode() for user in world.users]
        answers = asyncio.run(opened(f"{url}/v1/recommend", asks, REQUESTS / 20, 20.0))
        swapping.join()
    finally:
        over.set()
        changing.join()
    print(f"  statuses {answers.statuses}, p50 {answers.percentile(50):.1f} ms, p99 {answers.percentile(99):.1f} ms")
    return sum(count for status, count in answers.statuses.items() if status != 200)


def throughput(world: World, folder: Path, rounds: int, seconds: float, bundle: Bundle) -> float:
    """Return the throughput with new items over the catalogue, over that without."""
    config = ServeConfig(port=0, topology="fused", ingress=DeploymentConfig(replicas=usable_cpus(), cpus=0.25))
    asks = [json.dumps({"user_id": user, "k": SLATE}).encode() for user in world.users]
    states = {name: Path(shutil.copyfile(world.state, folder / f"{name}.sqlite")) for name in ("without", "with")}
    with open_items(states["with"]) as items:
        frame = bundle.model.catalog.frame.head(OVERLAID)
        for part in in_parts(items_of(frame.with_columns("new-" + pl.col(ITEM_ID))), 1_000):
            items.put(part)
    rates: dict[str, list[float]] = {name: [] for name in states}
    for number in range(rounds):
        for name in ("without", "with") if number % 2 else ("with", "without"):
            with start(world.bundle, states[name], config) as url:
                asyncio.run(closed(f"{url}/v1/recommend", asks, CLIENTS, seconds / 2))
                answers = asyncio.run(closed(f"{url}/v1/recommend", asks, CLIENTS, seconds))
            rates[name].append(answers.per_second)
            print(f"round {number + 1}: {name:<7} {answers.per_second:7.0f} requests/s", flush=True)
    return statistics.median(a / b for a, b in zip(rates["with"], rates["without"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, help="keep the served world here, for the next run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement of throughput")
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        world = serving_world(options.scratch or folder)
        bundle = Bundle.load(world.bundle)
        other = Bundle.save(bundle.model, folder / "other", data_hash="another").path
        base = ServeConfig(
            port=0, deadline_ms=4_000, start_timeout_s=300, ingress=DeploymentConfig(max_ongoing_requests=256)
        )
        sides = {
            "split": base,
            "fused": replace(base, topology="fused"),
            "three_shards": replace(base, shards=ShardsConfig(count=3)),
        }
        for name, config in sides.items():
            state = Path(shutil.copyfile(world.state, folder / f"{name}.sqlite"))
            with (
                started(world.bundle, state, config) as running,
                httpx.Client(base_url=running.url(), timeout=60) as http,
            ):
                times = [shown_after(http, bundle, 7 * number) for number in range(ITEMS)]
                shown, gone = (max(one) for one in zip(*times, strict=True))
                print(f"{name}: put items show within {shown:.2f} s, withdrawn ones are gone within {gone:.2f} s")
                lines += [
                    f"ratio {name}_seconds_to_show {shown:.2f} goal <= 2",
                    f"ratio {name}_seconds_to_go {gone:.2f} goal <= 2",
                ]
                failed = failures(running, world, partial(deploy, running.dashboard, other, state, config, {}), bundle)
                lines.append(f"ratio {name}_failed_requests {failed} goal <= 0")
        with_items = throughput(world, folder, options.rounds, options.seconds, bundle)
        lines.append(f"ratio throughput_with_{OVERLAID}_items {with_items:.3f} goal >= 0.9")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
