"""Acknowledged means stored, once: clients post events while replicas are killed and the store is moved or locked.

Each of eight clients posts again what was not acknowledged, as the typed client does, so that every event is
acknowledged in the end. Slates are asked for beside, at a steady rate; the 99th percentile of their answers must lie
within the deadline.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import numpy as np

from foveate.bundle import Bundle
from foveate_serve.names import INGRESS, RANKER, RETRIEVER
from lab.served import CONFIG, Served, copied, on_file
from lab.serving_world import serving_world
from lab.steady import Steady, summary
from lab.troubles import store_moved, writer_waits

CLIENTS = 8
BATCH = 5
PAUSE_S = 0.4
"""Between two posts of a client: the events last as long as the troubles."""

KINDS: tuple[Callable[[Served], None], ...] = (
    lambda served: served.replace_one(INGRESS),
    lambda served: served.replace_one(RANKER),
    lambda served: served.replace_one(RETRIEVER),
    store_moved,
    writer_waits,
)


class Client(threading.Thread):
    """Posts its share of the events, each until it is acknowledged."""

    def __init__(self, url: str, number: int, events: int, items: list[str], users: tuple[str, ...]) -> None:
        super().__init__(name=f"client {number}")
        self._url = f"{url}/v1/events"
        self._number = number
        self._count = events
        self._items = items
        self._users = users
        self.refused: Counter[int] = Counter()
        """Answers that were none: their status, 0 where the connection broke."""

    def run(self) -> None:
        with httpx.Client(timeout=20) as http:
            for first in range(0, self._count, BATCH):
                body = {"events": [self._event(number) for number in range(first, first + BATCH)]}
                while (status := _post(http, self._url, body)) != 200:
                    self.refused[status] += 1
                    time.sleep(0.5)
                time.sleep(PAUSE_S)

    def _event(self, number: int) -> dict[str, str]:
        user, item = self._users[number % len(self._users)], self._items[number % len(self._items)]
        name = f"live-{self._number}-{number}"
        return {"user_id": user, "item_id": item, "kind": "like", "event_id": name}


def _post(http: httpx.Client, url: str, body: Mapping[str, object]) -> int:
    try:
        return http.post(url, json=body).status_code
    except httpx.HTTPError:
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, help="keep the served world here, for the next run")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--troubles", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        world = copied(serving_world(options.scratch or Path(scratch) / "world"), Path(scratch))
        items = [str(item) for item in Bundle.load(world.bundle).model.catalog.items.ids]
        with (
            on_file(world, Path(scratch)) as served,
            Steady(f"{served.url}/v1/recommend", world.users, 10.0).running() as slates,
        ):
            each = options.events // CLIENTS
            clients = [Client(served.url, number, each, items, world.users) for number in range(CLIENTS)]
            for client in clients:
                client.start()
            for _ in range(options.troubles):
                draw.choice(KINDS)(served)
                time.sleep(2.0)
            for client in clients:
                client.join()
            counts = _stored(Path(str(served.state)))
    acknowledged = each * CLIENTS
    refused = sum((client.refused for client in clients), Counter[int]())
    failed, how, stood_in = summary(slates.answers)
    slowest = np.percentile([one.milliseconds for one in slates.answers if one.status == 200], 99)
    print(f"events acknowledged {acknowledged:,}; posts refused or broken meanwhile: {dict(refused)}")
    print(f"slates {len(slates.answers):,}, failed {failed} ({how}), stood in: {stood_in}")
    print(f"ratio events_lost {acknowledged - len(counts)} goal <= 0")
    print(f"ratio events_doubled {sum(count > 1 for count in counts.values())} goal <= 0")
    print(f"ratio slates_p99_of_deadline {slowest / CONFIG.deadline_ms:.3f} goal <= 1")


def _stored(state: Path) -> Counter[str]:
    """Return how often the store holds each event of this bench."""
    with sqlite3.connect(state) as database:
        rows = database.execute("SELECT event_id FROM events WHERE event_id LIKE 'live-%'").fetchall()
    database.close()
    return Counter(name for (name,) in rows)


if __name__ == "__main__":
    main()
