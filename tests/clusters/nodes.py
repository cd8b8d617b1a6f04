"""A Ray cluster of several nodes on 127.0.0.1, in a process of its own, whose nodes and GCS can be lost.

Of its own, because Ray settles once a process whether it asks for a token, and because its nodes live as long as the
thread that started them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from foveate_cluster.environment import environment
from foveate_serve.operations.cluster import LOOPBACK, free_ports, throughput

OURS: Final[Mapping[str, str]] = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WANDB_"))},
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""The environment of whatever a test starts on a cluster: this one's, without what would change Ray or W&B."""

_HERE: Final = {
    **OURS,
    "RAY_AUTH_MODE": "disabled",
    # The dashboard's own processes would look for the cluster at the address that faces the network.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
_NODES: Final = """
import json, sys
from ray.cluster_utils import Cluster

cpus, others, dashboard = (int(word) for word in sys.argv[1:4])
resources = json.loads(sys.argv[4])
node = {"num_cpus": cpus, "node_ip_address": "127.0.0.1"}
head = {**node, "include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": dashboard}
cluster = Cluster(initialize_head=True, head_node_args=head)
added = []
orders = {
    "add": lambda: added.append(cluster.add_node(**node, resources=resources, include_dashboard=False)),
    "lose": lambda: cluster.remove_node(added.pop(0), allow_graceful=False),
    "gcs-down": cluster.head_node.kill_gcs_server,
    "gcs-up": cluster.head_node.start_gcs_server,
}
for _ in range(others):
    orders["add"]()
print("done", cluster.address, flush=True)
for line in sys.stdin:
    orders[line.strip()]()
    print("done", line.strip(), flush=True)
cluster.shutdown()
"""


class Nodes:
    """The cluster, while it runs; see :class:`~clusters.scenario.Ground`."""

    host: Final = LOOPBACK
    listen: Final = LOOPBACK

    def __init__(self, process: subprocess.Popen[str], dashboard: int, env: Mapping[str, str]) -> None:
        self.env = env
        self.dashboard = f"http://{LOOPBACK}:{dashboard}"
        self._process = process
        self.address = self._done()

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command on the head, which is this machine."""
        return subprocess.Popen(command, text=True, **{"env": self.env, **options})

    def add(self) -> None:
        """Add a node like the others."""
        self._order("add")

    def lose(self) -> None:
        """Kill the oldest node that is not the head."""
        self._order("lose")

    @contextmanager
    def without_gcs(self) -> Iterator[None]:
        """Kill the head's GCS; it starts again, with what it kept on disk, when the block ends."""
        self._order("gcs-down")
        try:
            yield
        finally:
            self._order("gcs-up")

    def _order(self, word: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert self._done() == word

    def _done(self) -> str:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("done "):
                return line.split()[1]
        raise AssertionError("the nodes' process has ended")


@contextmanager
def nodes(
    others: int,
    scratch: Path,
    cpus: int = 2,
    resources: Mapping[str, float] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Nodes]:
    """Have a head and ``others`` nodes of so many CPUs while the block runs.

    Parameters
    ----------
    scratch
        A folder that is there, for what the GCS keeps.
    resources
        Custom ones of each node but the head.
    env
        What nodes and verbs find in their environment beside the usual.
    """
    [dashboard] = free_ports(1)
    with throughput(), environment({"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(scratch / "gcs")}):
        ours = {**_HERE, **(env or {})}
        rays = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
        with subprocess.Popen(
            [sys.executable, "-c", _NODES, str(cpus), str(others), str(dashboard), json.dumps(dict(resources or {}))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**rays, **ours},
        ) as process:
            # Its end of file tells it to stop.
            yield Nodes(process, dashboard, ours)
