"""A Ray cluster on hosts with addresses of their own, as an operator starts it: ``ray start`` on each, with a token."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from clusters.hosts import RAY_FOLDER, Host, hosts
from clusters.nodes import OURS
from foveate_cluster.environment import environment
from foveate_serve.operations.cluster import throughput

STATE: Final = "foveate_state"
"""A resource that the head alone has, for what belongs where viewers' histories lie."""
_CPUS: Final = 2
_PORT: Final = 6379
_DASHBOARD: Final = 8265
_RAY: Final = str(Path(sys.executable).with_name("ray"))


class OnHosts:
    """The cluster, while it runs; see :class:`~clusters.scenario.Ground`.

    Parameters
    ----------
    made
        The first is to be the head.
    env
        What Ray and all verbs find in their environment, on every host.
    head_cpus
        How many CPUs the head has for replicas.
    """

    # Of its own host HAProxy asks replicas at 127.0.0.1: they must listen there too.
    listen: Final = "0.0.0.0"  # noqa: S104 - the hosts are alone with the test

    def __init__(self, made: Sequence[Host], env: Mapping[str, str], head_cpus: int = _CPUS) -> None:
        self.env = env
        self._head_cpus = head_cpus
        self.head, *self._off = made
        self.host = self.head.address
        self.address = f"{self.host}:{_PORT}"
        self.dashboard = f"http://{self.host}:{_DASHBOARD}"
        self.joined: list[Host] = []
        """Hosts beside the head, in the order in which they came."""
        self.start_head()
        while self._off:
            self.add()

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command on the head."""
        return self.head.start(command, self.env, **options)

    def start_head(self) -> None:
        """Start Ray on the head, or again after its machine was replaced by one of the same address."""
        where = [f"--dashboard-host={self.host}", f"--dashboard-port={_DASHBOARD}", f"--port={_PORT}"]
        self._ray(self.head, "--head", *where, f'--resources={{"{STATE}": 1}}', cpus=self._head_cpus)

    def lose_head(self) -> None:
        """Have the head's machine be gone for good, with all that Ray kept on its disk."""
        self.head.kill()
        shutil.rmtree(self.head.folder)
        self.head.folder.mkdir()

    def add(self) -> None:
        """Have a host that is not in the cluster join it, such as one that was lost and has power again."""
        host = self._off.pop(0)
        self._ray(host, f"--address={self.address}")
        self.joined.append(host)

    def lose(self) -> None:
        """Kill the host that joined first."""
        host = self.joined.pop(0)
        host.kill()
        self._off.append(host)

    def without_gcs(self) -> AbstractContextManager[None]:
        """Have the head's GCS be gone during the block."""
        return self.head.without("gcs_server")

    def end(self) -> None:
        """End Ray and all verbs on every host, as 'ray stop' does where a host's processes are its own."""
        for host in (self.head, *self.joined):
            host.kill()

    def _ray(self, host: Host, *words: str, cpus: int = _CPUS) -> None:
        own = [f"--node-ip-address={host.address}", f"--num-cpus={cpus}", "--disable-usage-stats"]
        host.run([_RAY, "start", *own, *words], self.env)


@contextmanager
def on_hosts(count: int, scratch: Path) -> Iterator[OnHosts]:
    """Have a cluster of so many hosts while the block runs; raises as :func:`clusters.hosts.hosts` does.

    Parameters
    ----------
    scratch
        A folder that is there, for what hosts keep apart and what the GCS keeps on disk.
    """
    own = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(scratch / "gcs"), **guarded()}
    with hosts(count, scratch) as made, environment(own):
        yield started(made, own)


def guarded() -> dict[str, str]:
    """Return the environment of a cluster with a new token."""
    # Ray's sessions lie where hosts keep their own.
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "TMPDIR": str(RAY_FOLDER.parent)}


def started(made: Sequence[Host], own: Mapping[str, str], head_cpus: int = _CPUS) -> OnHosts:
    """Start a cluster on hosts that are there.

    Parameters
    ----------
    own
        Its environment beside the usual, a token included.
    head_cpus
        As :class:`OnHosts` has it.
    """
    with throughput():
        rays = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    # The cluster outlives the folder with a launcher of its own: it takes the installed one, as an operator's does.
    rays["RAY_SERVE_HAPROXY_BINARY_PATH"] = str(Path(sys.executable).with_name("foveate-haproxy"))
    return OnHosts(made, {**rays, **OURS, **own}, head_cpus)
