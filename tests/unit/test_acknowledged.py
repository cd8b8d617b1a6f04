"""Processes that write events while they are killed, the file is moved, and others hold its lock: what they were told.

What was acknowledged is there, once; what was refused for certain is not.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from foveate.state.sqlite.store import SqliteState

WRITER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from foveate.core.errors import StateError
from foveate.state.base import ViewerEvent
from foveate.state.connect import open_viewers

place, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

def send(number):
    event_id = f"{name}-{number}"
    try:
        state.append([ViewerEvent(f"u{number % 7}", "a", "click", event_id=event_id)])
        answer = "kept"
    except StateError as error:
        answer = "refused" if "nothing was kept" in str(error) else "unsure"
    print(f"{answer} {event_id}\\n", end="", flush=True)

with open_viewers(place, create=False, lazy=True) as state, ThreadPoolExecutor(4) as pool:
    list(pool.map(send, range(count)))
"""


def trial(folder: Path, seed: int, clients: int, events: int, troubles: int) -> None:
    """Write from several processes under troubles drawn by chance, and compare what they were told with the store."""
    path, rng = folder / "state.sqlite", Random(seed)
    SqliteState(path).close()
    place = f"sqlite://{path}?write_timeout_s=0.3&history=1000000"
    told, running = [], []

    def start() -> None:
        number = len(told)
        told.append(folder / f"told-{number}")
        command = [sys.executable, "-c", WRITER, place, f"w{number}", str(events)]
        with told[-1].open("w") as out:
            running.append(subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True))

    try:
        for _ in range(clients):
            start()
        for _ in range(troubles):
            time.sleep(rng.uniform(0.05, 0.3))
            trouble = rng.choice(["kill", "move", "lock"])
            if trouble == "kill":
                killed = running.pop(rng.randrange(len(running)))
                killed.kill()
                killed.communicate()
                start()
            elif trouble == "move":
                path.rename(folder / "away")
                time.sleep(rng.uniform(0.0, 0.2))
                (folder / "away").rename(path)
            else:
                with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
                    connection.execute("BEGIN IMMEDIATE")
                    time.sleep(rng.uniform(0.0, 0.5))
                    connection.execute("ROLLBACK")
        for process in running:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
    finally:
        for process in running:
            process.kill()
            process.communicate()
    # A killed process may end in the midst of a line.
    whole = [file.read_text().rpartition("\n")[0] for file in told]
    answers = [line.split() for lines in whole for line in lines.splitlines()]
    kept = {event_id for answer, event_id in answers if answer == "kept"}
    refused = {event_id for answer, event_id in answers if answer == "refused"}
    with SqliteState(path, create=False) as state:
        stored = Counter(one.event.event_id for part in state.kept() for one in part)
    assert set(stored.values()) == {1}
    assert not kept - set(stored)
    assert not refused & set(stored)
    assert kept


def test_what_is_acknowledged_is_there_once_and_what_is_refused_is_not(tmp_path: Path) -> None:
    trial(tmp_path, seed=1, clients=2, events=400, troubles=8)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_twenty_troubles_lose_nothing_and_store_nothing_twice(tmp_path: Path, seed: int) -> None:
    trial(tmp_path, seed, clients=8, events=2_500, troubles=20)
