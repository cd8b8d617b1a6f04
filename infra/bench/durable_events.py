"""Acknowledged means stored, once: writers append events with unique ids while they, and the store, are killed.

Each of eight writers is a process. It notes every acknowledgement before it goes on, and one that is killed begins
again where its notes end, with the same ids. At random moments one of them is killed with -9, or the Redis server,
which starts again from its disk ('appendonly yes', 'appendfsync always'). In the end each acknowledged event must be
stored, and none twice.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from foveate.core.errors import StateError
from foveate.state.base import ViewerEvent
from foveate.state.connect import open_viewers, without_limits
from lab.stores import Redis, redis_program

WRITERS = 8
BATCH = 5


def write(place: str, number: int, events: int, notes: Path) -> None:
    """Append one writer's events, from the first that its notes do not have."""
    noted = notes.read_text().split() if notes.exists() else []
    # A writer that is killed in the midst of a note leaves half a line.
    first = len([line for line in noted if line.isdigit()])
    with open_viewers(place) as viewers, notes.open("w") as log:
        log.write("".join(f"{n}\n" for n in range(first)))
        for start in range(first, events, BATCH):
            part = range(start, min(start + BATCH, events))
            batch = [ViewerEvent(f"u{n % 50}", f"i{n}", "click", event_id=f"w{number}-{n}") for n in part]
            while True:
                try:
                    viewers.append(batch)
                    break
                except StateError:
                    time.sleep(0.05)
            log.write("".join(f"{n}\n" for n in part))
            log.flush()


def stored(place: str) -> Counter[str]:
    """Return how often the store holds each event."""
    with open_viewers(place) as viewers:
        return Counter(str(one.event.event_id) for part in viewers.kept() for one in part)


def run(name: str, place: str, events: int, kills: int, *, folder: Path, kill_store: Callable[[], None] | None) -> None:
    """Have one store written to and troubled, and print what came of it."""
    draw, each = random.Random(0), events // WRITERS
    folder.mkdir()

    def start(number: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, __file__, "--writer", str(number), str(each), place, str(folder / f"notes-{number}")]
        return subprocess.Popen(command)

    began = time.perf_counter()
    writers = {number: start(number) for number in range(WRITERS)}
    killed: Counter[str] = Counter()
    while any(one.poll() is None for one in writers.values()):
        time.sleep(draw.uniform(0.5, 2.0))
        if killed.total() == kills:
            continue
        if kill_store is not None and draw.random() < 0.5:
            kill_store()
            killed["store"] += 1
            continue
        under_way = [number for number, one in writers.items() if one.poll() is None]
        if under_way:
            number = draw.choice(under_way)
            writers[number].kill()
            writers[number].wait()
            writers[number] = start(number)
            killed["writer"] += 1
    seconds = time.perf_counter() - began
    assert all(one.returncode == 0 for one in writers.values())
    found = stored(place)
    acknowledged = {f"w{number}-{n}" for number in range(WRITERS) for n in range(each)}
    print(f"{name}: {len(acknowledged):,} events in {seconds:.0f} s; killed {dict(killed)}")
    print(f"ratio {name}_events_lost {len(acknowledged - found.keys())} goal <= 0")
    print(f"ratio {name}_events_doubled {sum(count > 1 for count in found.values())} goal <= 0")


def main() -> None:
    if sys.argv[1:2] == ["--writer"]:
        number, events, place, notes = sys.argv[2:]
        write(place, int(number), int(events), Path(notes))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        place = without_limits(folder / "state.sqlite")
        run("sqlite", place, options.events, options.kills, folder=folder / "file", kill_store=None)
        program = redis_program()
        if program is None:
            print("no Redis server here")
            return
        (folder / "redis").mkdir()
        server = Redis(program, folder / "redis")
        server.start()

        def kill() -> None:
            server.kill()
            server.start()

        try:
            place = server.address(history=10**6)
            run("redis_always", place, options.events, options.kills, folder=folder / "server", kill_store=kill)
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
