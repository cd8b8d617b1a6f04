"""A cluster that is there already: ``--address`` sweeps and trains on its nodes, and leaves it as it was."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from foveate.bundle import Bundle
from foveate.data.dataset import Dataset

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

# A process of its own: Ray settles once a process whether it asks for a token, and other tests have settled it here.
NODES = """
import sys
from ray.cluster_utils import Cluster
node = dict(num_cpus=1, node_ip_address="127.0.0.1", include_dashboard=False)
cluster = Cluster(initialize_head=True, head_node_args={**node, "ray_client_server_port": int(sys.argv[1])})
cluster.add_node(**node)
print("address", cluster.address, flush=True)
for line in sys.stdin:
    alive = [n for n in cluster.list_all_nodes() if n.any_processes_alive()]
    print("alive", len(alive), flush=True)
cluster.shutdown()
"""
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WANDB_"))},
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Nodes:
    """Two nodes of one CPU each on 127.0.0.1."""

    def __init__(self) -> None:
        port = free_port()
        self.client_address = f"ray://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", NODES, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Its server for clients, too, must look for it on 127.0.0.1.
            env=ENVIRONMENT | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
        )
        self.address = self._word("address")

    def alive(self) -> int:
        """How many nodes run."""
        assert self.process.stdin
        self.process.stdin.write("how many?\n")
        self.process.stdin.flush()
        return int(self._word("alive"))

    def stop(self) -> None:
        self.process.communicate(timeout=60)

    def _word(self, name: str) -> str:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(name):
                return line.split()[1]
        raise AssertionError(f"the cluster did not tell its {name}")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    cluster = Nodes()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def swept(nodes: Nodes, small_world: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two trials that ran on the nodes."""
    out = tmp_path_factory.mktemp("cluster") / "sweep"
    settings = ["--trials", "2", "--epochs", "1", "--tracking", "none"]
    done = foveate("tune", small_world, out, nodes.address, *settings)
    assert done.returncode == 0, done.stderr
    return out


def foveate(verb: str, data: Dataset, out: Path, address: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [verb, "--data", str(data.path), "--out", str(out), "--address", address, *words]
    code = "from foveate_cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=ENVIRONMENT,
    )


def test_a_dry_run_counts_what_fits_on_the_nodes(nodes: Nodes, small_world: Dataset, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    words = ["--trials", "6", "--concurrent", "9", "--dry-run", "--json", str(told)]
    done = foveate("tune", small_world, tmp_path / "sweep", nodes.address, *words)
    assert done.returncode == 0, done.stderr
    assert nodes.alive() == 2
    said = json.loads(told.read_text())
    assert (said["fit"], said["at_once"], said["trials"]) == (2, 2, 6)
    assert said["machines"] == [{"cpus": 1.0, "gpus": 0.0, "custom": {}}] * 2
    assert f"the cluster at {nodes.address}, 2 nodes: 1 CPU" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["told.json"]


def test_a_sweep_runs_on_the_nodes_and_leaves_them_up(swept: Path, nodes: Nodes) -> None:
    rows = json.loads((swept / "leaderboard.json").read_text())["rows"]
    assert [row["state"] for row in rows] == ["finished", "finished"]
    assert all((swept / row["checkpoint"]).is_dir() for row in rows)
    assert nodes.alive() == 2


@pytest.mark.soak
def test_a_client_sweeps_from_outside_and_hears_of_every_epoch(
    nodes: Nodes, small_world: Dataset, tmp_path: Path
) -> None:
    settings = ["--trials", "1", "--epochs", "2", "--tracking", "none"]
    done = foveate("tune", small_world, tmp_path / "sweep", nodes.client_address, *settings)
    assert done.returncode == 0, done.stderr
    assert "trial-000 epoch 1/2" in done.stderr
    assert "trial-000 epoch 2/2" in done.stderr
    assert json.loads((tmp_path / "sweep" / "leaderboard.json").read_text())["winner"] == "trial-000"


def test_a_training_runs_on_a_node(swept: Path, nodes: Nodes, small_world: Dataset, tmp_path: Path) -> None:
    light = ["--from", str(swept), "sources=[attention, popularity]", "label_windows=1", "ranker.trees=10"]
    done = foveate("train", small_world, tmp_path / "bundle", nodes.address, *light)
    assert done.returncode == 0, done.stderr
    bundle = Bundle.load(tmp_path / "bundle")
    assert bundle.bundle_id in done.stdout
    assert nodes.alive() == 2


def test_a_trial_that_fits_no_node_is_refused(nodes: Nodes, small_world: Dataset, tmp_path: Path) -> None:
    # The two nodes have two CPUs together, but a trial runs on one of them.
    done = foveate("tune", small_world, tmp_path / "sweep", nodes.address, "--cpus", "2")
    assert done.returncode == 2
    assert "one trial asks for 2 CPUs" in done.stderr
    assert "each node of the cluster has 1 CPUs" in done.stderr
    assert not (tmp_path / "sweep").exists()


def test_a_mistake_found_on_a_node_comes_back_as_one_line(nodes: Nodes, small_world: Dataset, tmp_path: Path) -> None:
    done = foveate(
        "train", small_world, tmp_path / "bundle", nodes.address, "split.selection_days=13", "split.ranker_days=13"
    )
    assert done.returncode == 2
    assert "no target for" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
