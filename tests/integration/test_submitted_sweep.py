"""A sweep that is handed to a cluster of three nodes, which have Foveate's dependencies and nothing of Foveate."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from foveate.data.dataset import Dataset

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NODES = ((4, 1), (1, 1))
"""CPUs and slots of two of the nodes; a slot stands for a GPU. The head has one CPU and no slot."""
NEED = 0.4
AT_ONCE = 3
"""Two share the slot of the first node, which has CPUs for four; the second has a CPU for one."""
TRIALS = 5
CLUSTER = """
import json, sys
from ray._private.utils import write_ray_address
from ray.cluster_utils import Cluster
temp, dashboard, agent, nodes = json.loads(sys.argv[1])
node = dict(node_ip_address="127.0.0.1")
head = dict(num_cpus=1, include_dashboard=True, dashboard_host="127.0.0.1", dashboard_port=dashboard, temp_dir=temp)
# Every node has a folder of its own, as on machines of their own: each unpacks the code into it, over what is there.
cluster = Cluster(initialize_head=True, head_node_args={**node, **head, "dashboard_agent_listen_port": agent})
# Where a job looks for its own cluster, which may not be the only one on this machine.
write_ray_address(cluster.address, temp)
for number, (cpus, slots) in enumerate(nodes):
    has = dict(num_cpus=cpus, resources={"slot": slots}, temp_dir=f"{temp}/{number}")
    cluster.add_node(**node, **has, include_dashboard=False)
print("up", flush=True)
sys.stdin.read()
cluster.shutdown()
"""
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WANDB_", "PYTHON"))}
# A busy machine may take its time to bring three nodes up.
CLEAN |= {"RAY_raylet_start_wait_time_s": "120"}
CLEAN |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "1" * 64}


def free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in servers]
    for server in servers:
        server.close()
    return ports


def wait_for(port: int) -> None:
    give_up = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < give_up, "the dashboard does not answer"
            time.sleep(0.1)
        else:
            return


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the packages that are installed here, without what a checkout adds to them by a file of its own."""
    home = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(home, with_pip=False)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = home / "bin" / "python"
    done = subprocess.run(
        [python, "-c", "import foveate"], check=False, cwd=home, env=CLEAN, capture_output=True, text=True
    )
    if done.returncode == 0:
        pytest.skip("Foveate is installed among its dependencies here, not run from a checkout")
    assert "No module named 'foveate'" in done.stderr
    return python


@pytest.fixture(scope="module")
def dashboard(bare: Path) -> Iterator[str]:
    """Three nodes on 127.0.0.1, which ask for a token."""
    temp = tempfile.mkdtemp(prefix="foveate-nodes-", dir="/tmp")
    port, agent = free_ports(2)
    noise = (Path(temp) / "noise").open("w+")
    process = subprocess.Popen(
        [bare, "-c", CLUSTER, json.dumps([temp, port, agent, NODES])],
        cwd=temp,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=noise,
        text=True,
        # 'python' is the nodes' own; and all of Ray's processes look for each other on 127.0.0.1.
        env=CLEAN | {"PATH": f"{bare.parent}:{CLEAN['PATH']}", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
    )
    assert process.stdout
    try:
        said = "".join(process.stdout.readlines(1))
        assert "up" in said, f"{said}\n{(Path(temp) / 'noise').read_text()[-3000:]}"
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.communicate(timeout=60)
        noise.close()
        shutil.rmtree(temp, ignore_errors=True)


def foveate(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "foveate_cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=CLEAN)


@pytest.fixture(scope="module")
def submitted(
    dashboard: str, small_world: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A sweep of more trials than fit at once, and what its user saw of it."""
    out = tmp_path_factory.mktemp("submitted") / "sweep"
    asked = [f"trials={TRIALS}", f"concurrent={TRIALS}", "epochs=2", "scheduler=none", "tracking.mode=none"]
    asked += [f"resources.slot={NEED}", "search.mixers=[mean_pool]", "search.scorers=[dot_product]"]
    told = ("--data", str(small_world.path), "--out", out, "--json", out.with_suffix(".json"))
    return out, foveate("tune", *told, "--submit", "--address", dashboard, *asked)


def test_it_runs_by_the_wheel_alone_and_ends_in_a_leaderboard(
    submitted: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = submitted
    assert done.returncode == 0, done.stdout + done.stderr
    board = json.loads((out / "leaderboard.json").read_text())
    assert [row["state"] for row in board["rows"]] == ["finished"] * TRIALS
    # Followed while it ran, and its table at the end.
    assert "trial-000 epoch 1/2" in done.stdout
    assert f"winner  {board['winner']} of sweep {board['sweep']}" in done.stdout
    assert not [noise for noise in ("INFO", ".cc:", ".py:") if noise in done.stdout + done.stderr]
    assert json.loads(out.with_suffix(".json").read_text())["sweep"] == str(out)
    # The nodes have no checkout, and still the sweep knows which commit its code is.
    facts = json.loads((out / "trials" / "trial-000" / "facts.json").read_text())
    assert facts["commit"] == board["commit"]
    assert len(facts["commit"].rstrip("+")) == 40


def test_no_more_trials_run_at_once_than_fit(
    submitted: tuple[Path, subprocess.CompletedProcess[str]], dashboard: str
) -> None:
    answer = httpx.get(
        f"{dashboard}/api/v0/tasks",
        params={"detail": "true", "limit": "10000"},
        headers={"Authorization": f"Bearer {CLEAN['RAY_AUTH_TOKEN']}"},
        timeout=60,
    )
    tasks = answer.json()["data"]["result"]["result"]
    # Each step of a trial is a call of its process, whose times Ray keeps to the millisecond.
    steps = [task for task in tasks if task["name"].endswith(".train") and task["end_time_ms"]]
    assert len(steps) >= 2 * TRIALS
    spans = [(task["start_time_ms"], task["end_time_ms"]) for task in steps]
    at_once = max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans)
    assert 2 <= at_once <= AT_ONCE
    assert len({task["node_id"] for task in steps}) == len(NODES)


def test_interrupted_it_goes_on_and_can_be_found_and_stopped(
    submitted: tuple[Path, subprocess.CompletedProcess[str]], dashboard: str, small_world: Dataset, tmp_path: Path
) -> None:
    there = ("--address", dashboard)
    words = ["tune", "--data", str(small_world.path), "--out", str(tmp_path / "sweep"), "--submit", *there]
    command = [sys.executable, "-m", "foveate_cli", *words, "tracking.mode=none"]
    user = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=CLEAN)
    assert user.stderr
    assert "packing" in user.stderr.readline()
    job = user.stderr.readline().split()[1]
    user.send_signal(signal.SIGINT)
    _, told = user.communicate(timeout=30)
    assert user.returncode == 130
    assert f"foveate job stop {job} --address {dashboard}" in told
    assert foveate("job", "stop", job, *there).stdout == f"{job} is stopped\n"
    listed = [line.split()[:2] for line in foveate("job", "list", *there).stdout.splitlines()]
    assert [status for _, status in listed] == ["SUCCEEDED", "STOPPED"]
    # Whoever comes later sees it all.
    assert foveate("job", "follow", listed[0][0], *there).stdout == submitted[1].stdout


def test_a_mistake_that_only_the_cluster_can_see_comes_back_as_one_line(dashboard: str, tmp_path: Path) -> None:
    done = foveate(
        "tune", "--data", tmp_path, "--out", tmp_path / "sweep", "--submit", "--address", dashboard, "trials=2"
    )
    assert done.returncode == 2
    assert f"failed: '{tmp_path}' is no dataset folder" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stdout + done.stderr
