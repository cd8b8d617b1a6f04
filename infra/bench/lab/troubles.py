"""The kinds of trouble that a served bundle may be in: each is a function that brings it about and takes it back."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from ray.util.state import list_actors

from foveate_serve.names import INGRESS, RANKER, RETRIEVER
from foveate_serve.operations.cluster import LOOPBACK, free_ports
from lab.served import Served, UnavailableError

HOUR_S = 3600


@dataclass(frozen=True)
class Trouble:
    """One row of the table."""

    setting: str
    """Where it is brought about: a key of :data:`lab.served.SETTINGS`."""
    bring: Callable[[Served], None]


def swaps(served: Served) -> None:
    for number in range(10):
        served.apply((served.other, served.world.bundle)[number % 2])
        time.sleep(3.0)


def bad_bundles(served: Served) -> None:
    for _ in range(5):
        served.apply(served.bad)
        time.sleep(2.0)
        served.apply(served.world.bundle)
        time.sleep(2.0)


def store_destroyed(served: Served) -> None:
    """Have the store's file read as nothing, and put it back: nobody writes meanwhile, so that it is whole again."""
    path = _file(served)
    with _writing(path) as database:
        database.execute("ROLLBACK")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("BEGIN IMMEDIATE")
        kept = path.read_bytes()
        with path.open("r+b") as file:
            file.write(b"\0" * len(kept))
        time.sleep(5.0)
        with path.open("r+b") as file:
            file.write(kept)


def writer_waits(served: Served) -> None:
    """Hold the right to write for longer than events may wait."""
    with _writing(_file(served)):
        time.sleep(8.0)


def store_moved(served: Served) -> None:
    """Move the store's files away and back: nobody may write into nothing meanwhile."""
    files = _files(served)
    for file in files:
        file.rename(file.with_name(f"away-{file.name}"))
    time.sleep(5.0)
    for file in reversed(files):
        file.with_name(f"away-{file.name}").rename(file)


def disk_full(served: Served) -> None:
    """Fill the disk that the store lies on, and make room again."""
    ballast = _disk(served) / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * (1 << 16))
    time.sleep(6.0)
    ballast.unlink()
    time.sleep(3.0)


def read_only(served: Served) -> None:
    """Let nothing be written into the store's database and its log.

    The log's index stays writable: SQLite maps it into memory, and the system ends a process that writes into a mapped
    file which has become read-only.
    """
    _disk(served)
    files = [file for file in _files(served) if not file.name.endswith("-shm")]
    _set_immutable("+i", files)
    time.sleep(6.0)
    _set_immutable("-i", files)
    time.sleep(3.0)


def second_server(served: Served) -> None:
    """Have another server, on a cluster of its own, take events into the same file, and end it again."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "foveate_cli", "serve", "--bundle", str(served.bundle), "--state"]
    command += [str(_file(served)), "--port", str(port), "proxy=python", "topology=fused"]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    other = subprocess.Popen(command, env={**ours, "RAY_AUTH_MODE": "disabled"}, **quiet)  # type: ignore[call-overload]
    try:
        url, give_up = f"http://{LOOPBACK}:{port}", time.monotonic() + 120
        while not _ready(url):
            if other.poll() is not None or time.monotonic() > give_up:
                raise UnavailableError("the second server did not start")
            time.sleep(0.5)
        for number in range(200):
            event = {"user_id": served.world.users[number % 50], "item_id": "v00001", "kind": "like"}
            body = {"events": [{**event, "event_id": f"second-{number}"}]}
            httpx.post(f"{url}/v1/events", json=body, timeout=10).raise_for_status()
    finally:
        other.send_signal(signal.SIGTERM)
        other.wait(60)


def haproxy(served: Served) -> None:
    """Kill the proxy before the replicas."""
    del served
    # Ray starts it with the config in this cluster's own folder.
    folder = os.environ["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"].rpartition("/")[0].encode()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = process.read_bytes().split(b"\0")
            if words[0].endswith(b"haproxy") and any(folder in word for word in words):
                os.kill(int(process.parent.name), signal.SIGKILL)
    time.sleep(15.0)


def controller(served: Served) -> None:
    [actor] = list_actors(served.dashboard, filters=[("class_name", "=", "ServeController"), ("state", "=", "ALIVE")])
    assert actor.pid
    os.kill(actor.pid, signal.SIGKILL)
    time.sleep(10.0)


def gcs(served: Served) -> None:
    head: Any = served.cluster.head_node
    head.kill_gcs_server()
    time.sleep(4.0)
    head.start_gcs_server()
    time.sleep(8.0)


def node(served: Served) -> None:
    [_, lost, *_] = served.cluster.list_all_nodes()  # type: ignore[no-untyped-call]
    served.cluster.remove_node(lost, allow_graceful=False)
    time.sleep(20.0)


def memory_short(served: Served) -> None:
    """Kill each stage's replica that holds most memory, one after the other, as a node that runs out of it does."""
    for deployment in (INGRESS, RETRIEVER, RANKER):
        largest = max((int(one["pid"]) for one in served.replicas(deployment)), key=_memory)
        os.kill(largest, signal.SIGKILL)
        served.wait_whole(deployment, largest)


def redis_killed(served: Served) -> None:
    """Kill the Redis server, and start it again from its log."""
    served.parts["primary"].kill()
    time.sleep(5.0)
    served.parts["primary"].start()
    time.sleep(3.0)


def redis_fails_over(served: Served) -> None:
    """Stop the primary, make its replica the primary, and lead the address there."""
    import redis  # noqa: PLC0415 - one of two that are called so

    primary, replica, door = (served.parts[name] for name in ("primary", "replica", "door"))
    with redis.Redis(port=primary.port) as old, redis.Redis(port=replica.port) as new:
        # What the primary acknowledged has reached the replica before the primary goes: else it would be lost.
        old.wait(1, 5000)
        primary.kill()
        time.sleep(3.0)
        new.replicaof("NO", "ONE")
    door.lead(replica.port)
    time.sleep(5.0)


def bucket_stalls(served: Served) -> None:
    """Let the store sleep while a ranker is replaced, which brings its bundle from there."""
    store = int(served.parts["store"])
    os.kill(store, signal.SIGSTOP)
    try:
        lost = served.kill_one(RANKER)
        time.sleep(12.0)
    finally:
        os.kill(store, signal.SIGCONT)
    served.wait_whole(RANKER, lost)


def clock_forward(served: Served) -> None:
    _step(served, HOUR_S)


def clock_back(served: Served) -> None:
    _step(served, -HOUR_S)


TROUBLES: dict[str, Trouble] = {
    "nothing": Trouble("file", lambda _: time.sleep(10.0)),
    "kill -9 of a ranker": Trouble("file", lambda served: served.replace_one(RANKER)),
    "kill -9 of a retriever": Trouble("file", lambda served: served.replace_one(RETRIEVER)),
    "kill -9 of an ingress": Trouble("file", lambda served: served.replace_one(INGRESS)),
    "the largest replicas are killed for memory": Trouble("file", memory_short),
    "both rankers sleep for 5 s": Trouble("file", lambda served: served.stop_all(RANKER, 5.0)),
    "both retrievers sleep for 5 s": Trouble("file", lambda served: served.stop_all(RETRIEVER, 5.0)),
    "10 hot swaps": Trouble("file", swaps),
    "5 bad bundles": Trouble("file", bad_bundles),
    "the viewers' store is destroyed for 5 s": Trouble("file", store_destroyed),
    "a writer holds the viewers' store for 8 s": Trouble("file", writer_waits),
    "the viewers' store is moved away for 5 s": Trouble("file", store_moved),
    "the disk is full for 6 s": Trouble("file", disk_full),
    "the viewers' store is read-only for 6 s": Trouble("file", read_only),
    "two servers on one store": Trouble("file", second_server),
    "kill -9 of HAProxy": Trouble("file", haproxy),
    "kill -9 of Serve's controller": Trouble("file", controller),
    "the GCS is down for 4 s": Trouble("file", gcs),
    "one node of three is lost": Trouble("file", node),
    "Redis is killed for 5 s": Trouble("redis", redis_killed),
    "Redis fails over": Trouble("redis", redis_fails_over),
    "the bundle's store stalls for 12 s": Trouble("bucket", bucket_stalls),
    "the clock is an hour ahead": Trouble("clock", clock_forward),
    "the clock is an hour behind": Trouble("clock", clock_back),
}


def _file(served: Served) -> Path:
    return Path(str(served.state))


def _files(served: Served) -> list[Path]:
    """Return the store's files: the database, its log and the log's index."""
    path = _file(served)
    files = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
    return [file for file in files if file.exists()]


def _disk(served: Served) -> Path:
    place = Path(served.parts["disk"])
    if not os.path.ismount(place):
        raise UnavailableError("no disk of its own could be mounted")
    return place


def _set_immutable(flag: str, files: list[Path]) -> None:
    command = ["chattr", flag, *map(str, files)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise UnavailableError("chattr is not allowed")


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold the right to write to a store."""
    database = sqlite3.connect(path, isolation_level=None, timeout=30.0)
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
    finally:
        database.execute("ROLLBACK")
        database.close()


def _step(served: Served, seconds: int) -> None:
    """Set the clock of the cluster's processes forth or back, and right again."""
    moved = Path(served.parts["clock"])
    moved.write_text(f"{seconds:+d}\n")
    time.sleep(8.0)
    moved.write_text("+0\n")
    time.sleep(5.0)


def _memory(pid: int) -> int:
    """Return the pages that a process holds in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
