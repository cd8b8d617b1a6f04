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
import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
from ray.util.state import list_actors

from foveate.bundle import Bundle, default_state
from foveate_cluster.edges import environment
from foveate_serve.app import deploy, start
from foveate_serve.config import DeploymentConfig, ServeConfig
from foveate_serve.names import APPLICATION, INGRESS, RANKER, RETRIEVER
from foveate_serve.operations.cluster import LOOPBACK, free_ports, throughput
from lab.serving_world import World, serving_world
from lab.steady import Steady, told

PER_SECOND = 20.0
EVENTS_PER_SECOND = 10.0
NODE: dict[str, Any] = {"num_cpus": 2, "node_ip_address": LOOPBACK}
CONFIG = ServeConfig(
    topology="split",
    deadline_ms=4000,
    start_timeout_s=180.0,
    # Two that lie on one node would be lost together.
    **dict.fromkeys((INGRESS, RETRIEVER, RANKER), DeploymentConfig(replicas=2, cpus=0.25, most_per_node=1)),  # type: ignore[arg-type]
)


@dataclass(frozen=True)
class Ground:
    """A running server and what can be done to it."""

    cluster: Cluster
    client: ServeSubmissionClient
    dashboard: str
    world: World
    config: ServeConfig
    other: Path
    """A second good bundle."""
    bad: Path

    def replicas(self, deployment: str) -> list[dict[str, Any]]:
        details = self.client.get_serve_details()
        found: list[dict[str, Any]] = details["applications"][APPLICATION]["deployments"][deployment]["replicas"]
        return [one for one in found if one["state"] == "RUNNING"]

    def kill_one(self, deployment: str) -> None:
        pid = int(self.replicas(deployment)[0]["pid"])
        os.kill(pid, signal.SIGKILL)
        self.wait_whole(deployment, pid)

    def stop_all(self, deployment: str, seconds: float) -> None:
        """Let all replicas of a stage sleep: they neither answer nor end."""
        pids = [int(one["pid"]) for one in self.replicas(deployment)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def apply(self, bundle: Path) -> None:
        deploy(self.dashboard, bundle, self.world.state, self.config, {})

    def wait_whole(self, deployment: str, lost: int) -> None:
        """Wait until another replica stands in the place of the one that had the process id ``lost``."""
        give_up = time.monotonic() + 90
        while time.monotonic() < give_up:
            pids = [int(one["pid"]) for one in self.replicas(deployment)]
            if lost not in pids and len(pids) == CONFIG.deployments[deployment].replicas:
                return
            time.sleep(0.5)
        raise TimeoutError(f"no {deployment} came in the place of the killed one")


def swaps(ground: Ground) -> None:
    for number in range(10):
        ground.apply((ground.other, ground.world.bundle)[number % 2])
        time.sleep(3.0)


def bad_bundles(ground: Ground) -> None:
    for _ in range(5):
        ground.apply(ground.bad)
        time.sleep(2.0)
        ground.apply(ground.world.bundle)
        time.sleep(2.0)


def store_gone(ground: Ground) -> None:
    """Have the store's file read as nothing, and put it back: nobody writes meanwhile, so that it is whole again."""
    path = ground.world.state
    database = sqlite3.connect(path, isolation_level=None, timeout=30.0)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute("BEGIN IMMEDIATE")
    kept = path.read_bytes()
    try:
        with path.open("r+b") as file:
            file.write(b"\0" * len(kept))
        time.sleep(5.0)
        with path.open("r+b") as file:
            file.write(kept)
    finally:
        database.execute("ROLLBACK")
        database.close()


def writer_waits(ground: Ground) -> None:
    """Hold the right to write for longer than events may wait."""
    database = sqlite3.connect(ground.world.state, isolation_level=None, timeout=30.0)
    database.execute("BEGIN IMMEDIATE")
    time.sleep(8.0)
    database.execute("ROLLBACK")
    database.close()


def store_moved(ground: Ground) -> None:
    """Move the store's files away and back: nobody may write into nothing meanwhile."""
    path = ground.world.state
    names = [path.name + suffix for suffix in ("", "-wal", "-shm") if path.with_name(path.name + suffix).exists()]
    for name in names:
        path.with_name(name).rename(path.with_name(f"away-{name}"))
    time.sleep(5.0)
    for name in reversed(names):
        path.with_name(f"away-{name}").rename(path.with_name(name))


def haproxy(ground: Ground) -> None:
    """Kill the proxy before the replicas."""
    del ground
    # Ray starts it with the config in this cluster's own folder.
    folder = os.environ["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"].rpartition("/")[0].encode()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = process.read_bytes().split(b"\0")
            if words[0].endswith(b"haproxy") and any(folder in word for word in words):
                os.kill(int(process.parent.name), signal.SIGKILL)
    time.sleep(15.0)


def controller(ground: Ground) -> None:
    [actor] = list_actors(ground.dashboard, filters=[("class_name", "=", "ServeController"), ("state", "=", "ALIVE")])
    assert actor.pid
    os.kill(actor.pid, signal.SIGKILL)
    time.sleep(10.0)


def gcs(ground: Ground) -> None:
    head: Any = ground.cluster.head_node
    head.kill_gcs_server()
    time.sleep(4.0)
    head.start_gcs_server()
    time.sleep(8.0)


def node(ground: Ground) -> None:
    [_, lost, *_] = ground.cluster.list_all_nodes()  # type: ignore[no-untyped-call]
    ground.cluster.remove_node(lost, allow_graceful=False)
    time.sleep(20.0)


FAULTS: dict[str, Callable[[Ground], None]] = {
    "nothing": lambda _: time.sleep(10.0),
    "kill -9 of a ranker": lambda ground: ground.kill_one(RANKER),
    "kill -9 of a retriever": lambda ground: ground.kill_one(RETRIEVER),
    "kill -9 of an ingress": lambda ground: ground.kill_one(INGRESS),
    "both rankers sleep for 5 s": lambda ground: ground.stop_all(RANKER, 5.0),
    "both retrievers sleep for 5 s": lambda ground: ground.stop_all(RETRIEVER, 5.0),
    "10 hot swaps": swaps,
    "5 bad bundles": bad_bundles,
    "the viewers' store is destroyed for 5 s": store_gone,
    "a writer holds the viewers' store for 8 s": writer_waits,
    "the viewers' store is moved away for 5 s": store_moved,
    "kill -9 of HAProxy": haproxy,
    "kill -9 of Serve's controller": controller,
    "the GCS is down for 4 s": gcs,
    "one node of three is lost": node,
}


@contextmanager
def ground(world: World, folder: Path) -> Iterator[tuple[Ground, str]]:
    """Serve on three nodes that keep their GCS's state on disk."""
    gcs_storage = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(folder / "gcs")}
    # The dashboard's own processes would look for the cluster at the address that faces the network.
    here = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    with ExitStack() as stack:
        stack.enter_context(environment({**gcs_storage, **here}))
        stack.enter_context(throughput())
        port = free_ports(1)[0]
        head = {**NODE, "include_dashboard": True, "dashboard_host": LOOPBACK, "dashboard_port": port}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        stack.callback(cluster.shutdown)
        for _ in range(2):
            cluster.add_node(**NODE, include_dashboard=False)
        dashboard = f"http://{LOOPBACK}:{port}"
        config = replace(CONFIG, port=free_ports(1)[0])
        url = stack.enter_context(start(world.bundle, world.state, config, address=dashboard, progress=print))
        client = ServeSubmissionClient(dashboard)
        yield Ground(cluster, client, dashboard, world, config, _other(world, folder), _bad(world, folder)), url


def _other(world: World, folder: Path) -> Path:
    """Write the same model as a bundle of another id."""
    bundle = Bundle.load(world.bundle)
    model = replace(bundle.model, recipe=replace(bundle.model.recipe, slate_size=19))
    return Bundle.save(model, folder / "other", data_hash="another").path


def _bad(world: World, folder: Path) -> Path:
    """Copy the bundle with one byte of its weights changed."""
    path = folder / "bad"
    shutil.copytree(world.bundle, path)
    [weights] = path.rglob("attention.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, help="keep the served world here, for the next run")
    parser.add_argument("--only", action="append", default=[], metavar="FAULT", choices=[*FAULTS])
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        folder = Path(scratch)
        kept = serving_world(options.scratch or folder / "world")
        # Impressions are written to the state: the kept one stays as it is.
        state = Path(shutil.copyfile(default_state(kept.bundle), folder / "state.sqlite"))
        world = World(kept.bundle, state, kept.users)
        with (
            ground(world, folder) as (one, url),
            Steady(f"{url}/v1/recommend", world.users, PER_SECOND).running() as slates,
            Steady(f"{url}/v1/events", world.users, EVENTS_PER_SECOND, _event(world)).running() as events,
        ):
            time.sleep(3.0)
            rows = [_row(name, one, slates, events) for name in options.only or FAULTS]
        kept_once, acknowledged = _kept(state, events)
    head = ["trouble", "slates", "failed", "how", "stood in", "slowest", "events", "failed", "told to wait"]
    print("| " + " | ".join(head) + " |")
    print("|---|---:|---:|---|---|---:|---:|---:|---:|")
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")
    print(f"acknowledged events {acknowledged:,}, in the store once {kept_once:,}")
    figures = {
        "slates_failed": sum(row["failed"] for row in rows),
        "events_failed": sum(row["events failed"] for row in rows),
        "events_lost": acknowledged - kept_once,
    }
    for name, value in figures.items():
        print(f"ratio faults_{name} {value} goal <= 0")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def _event(world: World) -> Callable[[int, str], dict[str, Any]]:
    """Return what posts the n-th event: one of its own id, of an item that exists."""
    items = Bundle.load(world.bundle).model.catalog.items.ids

    def event(number: int, user: str) -> dict[str, Any]:
        what = {"user_id": user, "item_id": str(items[number % len(items)]), "kind": "like"}
        return {"events": [{**what, "event_id": f"fault-{number}"}]}

    return event


def _kept(state: Path, events: Steady) -> tuple[int, int]:
    """Return how many of the acknowledged events are in the store once, and how many were acknowledged."""
    acknowledged = {f"fault-{one.number}" for one in events.answers if one.status == 200}
    with sqlite3.connect(state) as database:
        counts = dict(
            database.execute("SELECT event_id, count(*) FROM events WHERE event_id LIKE 'fault-%' GROUP BY event_id")
        )
    database.close()
    return sum(counts.get(one) == 1 for one in acknowledged), len(acknowledged)


def _row(name: str, ground: Ground, load: Steady, events: Steady) -> dict[str, Any]:
    began = time.monotonic()
    FAULTS[name](ground)
    # What was asked in the midst of it must have been answered.
    time.sleep(CONFIG.deadline_ms / 1e3 + 1.0)
    answers = load.since(began)
    failed, how, stood_in = told(answers)
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
