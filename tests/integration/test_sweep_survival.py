"""Sweeps that lose their driver, a process, a node, their disk or their store, and still come to the end they would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError, StorageError
from foveate.data.dataset import Dataset
from foveate.storage.folder import Folder
from foveate_cluster.ray_cluster import ray_cluster
from foveate_tune.config import SweepConfig
from foveate_tune.results.leaderboard import SweepResult
from foveate_tune.results.pick import read_pick
from foveate_tune.run_sweep import resume_sweep, run_sweep
from foveate_tune.tracking.wandb import offline_records
from lab.stores import bucket

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TRIALS, EPOCHS = 3, 4
SETTINGS: dict[str, Any] = {
    "trials": TRIALS,
    "epochs": EPOCHS,
    "scheduler": "none",
    "tracking": {"mode": "none"},
    "search": {"mixers": ["mean_pool"], "scorers": ["dot_product"]},
}
WORDS = [
    *("--trials", str(TRIALS), "--epochs", str(EPOCHS), "scheduler=none"),
    *("search.mixers=[mean_pool]", "search.scorers=[dot_product]"),
]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WANDB_"))},
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}
NODES = """
import sys
from ray.cluster_utils import Cluster
node = dict(node_ip_address="127.0.0.1", include_dashboard=False)
cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0})
added = [cluster.add_node(num_cpus=1, **node) for _ in range(2)]
print("address", cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(added.pop(), allow_graceful=False)
cluster.shutdown()
"""


def config(**settings: Any) -> SweepConfig:
    return from_dict(SweepConfig, SETTINGS | settings)


def foveate(*words: str) -> subprocess.Popen[str]:
    code = "from foveate_cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def reports(sweep: Folder) -> dict[str, list[dict[str, Any]]]:
    """What each trial has reported by now."""
    trials = sweep / "trials"
    texts = {name: trials / name for name in trials.folders("trial-") if (trials / name).holds("result.json")}
    return {
        name: [json.loads(line) for line in trial.read("result.json").splitlines()] for name, trial in texts.items()
    }


def until(sweep: Folder, epochs: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many epochs of the sweep are reported."""
    give_up = time.monotonic() + 600
    while sum(map(len, reports(sweep).values())) < epochs:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < give_up
        time.sleep(0.05)


def assert_whole(sweep: Folder, trials: int = TRIALS) -> None:
    """Every trial is there once, finished, with every epoch once."""
    rows = json.loads(sweep.read("leaderboard.json"))["rows"]
    assert sorted(row["trial"] for row in rows) == [f"trial-{number:03d}" for number in range(trials)]
    assert {row["state"] for row in rows} == {"finished"}
    told = reports(sweep)
    for row in rows:
        own = told[row["trial"]]
        assert [one["epoch"] for one in own] == list(range(1, EPOCHS + 1))
        assert row["metrics"]["ndcg@10"] == max(one["ndcg@10"] for one in own)
        assert row["checkpoint"] is None or sweep.holds(row["checkpoint"])


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    """A cluster of this process that all sweeps in it share."""
    with ray_cluster(None):
        yield


def breaking_off(at: int, error: Callable[[], None]) -> Callable[[str], None]:
    """Do something when so many epochs were told of."""
    heard = Counter[str]()

    def progress(line: str) -> None:
        heard["epochs"] += " epoch " in line
        if heard["epochs"] == at and " epoch " in line:
            error()

    return progress


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_driver_is_killed_and_the_sweep_goes_on(small_world: Dataset, tmp_path: Path) -> None:
    sweep = Folder.at(tmp_path / "sweep")
    driver = foveate("tune", "--data", str(small_world.path), "--out", str(sweep), "--tracking", "offline", *WORDS)
    until(sweep, 3, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    before = reports(sweep)
    assert not sweep.holds("leaderboard.json")
    again = foveate("tune", "--resume", str(sweep))
    said = again.communicate(timeout=600)[1]
    assert again.returncode == 0, said
    assert_whole(sweep)
    after = reports(sweep)
    for name, own in before.items():
        assert after[name][: len(own)] == own
        assert f"{name} epoch 1/" not in said
    assert_each_step_once(tmp_path / "sweep")
    third = foveate("tune", "--resume", str(sweep))
    assert "is finished already" in third.communicate(timeout=600)[0]
    assert third.returncode == 0


def assert_each_step_once(sweep: Path) -> None:
    """All files of a run together hold each of its steps once."""
    for run in {file.stem.removeprefix("run-") for file in sweep.glob("wandb/offline-run-*/run-*-trial-*.wandb")}:
        steps = [
            json.loads(item.value_json)
            for record in offline_records(sweep, run)
            if record.WhichOneof("record_type") == "history"
            for item in record.history.item
            if (item.key or item.nested_key[0]) == "_step"
        ]
        assert steps == list(range(1, EPOCHS + 1)), run


def test_a_trial_whose_process_is_killed_goes_on(one_ray: None, small_world: Dataset, tmp_path: Path) -> None:
    assert small_world.path
    sweep = Folder.at(tmp_path / "sweep")
    lost: list[int] = []

    def kill() -> None:
        _, own = max(reports(sweep).items(), key=lambda pair: len(pair[1]))
        lost.append(own[-1]["pid"])
        os.kill(own[-1]["pid"], signal.SIGKILL)

    said: list[str] = []
    progress = breaking_off(3, kill)
    run_sweep(
        config(), small_world.path, tmp_path / "sweep", progress=lambda line: (said.append(line), progress(line))[1]
    )
    assert_whole(sweep)
    assert [line for line in said if "lost its process and goes on from epoch" in line]
    pids = {name: [one["pid"] for one in own] for name, own in reports(sweep).items()}
    assert any(lost[0] in own and set(own) != {lost[0]} for own in pids.values())


def test_a_node_is_lost_and_its_trial_goes_on(small_world: Dataset, tmp_path: Path) -> None:
    nodes = subprocess.Popen(
        [sys.executable, "-c", NODES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    try:
        assert nodes.stdout
        assert nodes.stdin
        address = next(line.split()[1] for line in nodes.stdout if line.startswith("address"))
        sweep = Folder.at(tmp_path / "sweep")
        words = ["--data", str(small_world.path), "--out", str(sweep), "--tracking", "none", "--address", address]
        driver = foveate("tune", *words, *WORDS)
        until(sweep, 3, driver)
        nodes.stdin.write("lose one\n")
        nodes.stdin.flush()
        said = driver.communicate(timeout=600)[1]
        assert driver.returncode == 0, said
        assert_whole(sweep)
        assert "lost its process" in said
    finally:
        nodes.communicate(timeout=60)


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of a bucket on an S3 server of this machine, with a place for a folder's name."""
    with bucket("sweeps") as address:
        yield address


def test_a_sweep_lies_on_a_store_and_goes_on_from_there(
    store: str, small_world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert small_world.path
    monkeypatch.chdir(tmp_path)
    address = store.format("one")
    offline = config(tracking={"mode": "offline"}, checkpoints=1)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(offline, small_world.path, address, progress=breaking_off(3, interrupt))
    sweep = Folder.at(address)
    assert not sweep.holds("leaderboard.json")
    result = resume_sweep(address)
    assert_whole(sweep)
    assert read_pick(address).trial == result.winner
    assert {"sweep.yaml", "leaderboard.json", "leaderboard.md", "winner.yaml"} <= set(sweep.sizes())
    assert (sweep / "wandb").folders("offline-run-")
    kept = [row.name for row in result.trials if row.checkpoint]
    assert kept == [result.winner]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("s3://bucket/sweep?endpoint_override=http%3A%2F%2F127.0.0.1%3A9&region=us-east-1", "Could not connect"),
        ("s3://bucket/sweep?endpoint=here", "Unexpected query parameter"),
        ("s4://bucket/sweep", "is no address of a store"),
        ("s3://bucket?region=us-east-1", "names no folder"),
    ],
)
def test_a_store_that_cannot_be_reached_is_said_before_anything_starts(
    small_world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, says: str
) -> None:
    assert small_world.path
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    start = time.monotonic()
    with pytest.raises(ConfigError, match=says):
        run_sweep(config(), small_world.path, place)
    assert time.monotonic() - start < 15


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few hundred kilobytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not Path("/bin/mount").exists():
        pytest.skip("a small disk cannot be mounted here: there is no mount")
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here: that takes root and the right to mount")
    yield disk
    subprocess.run(["/bin/umount", str(disk)], check=True)


# TensorBoard's writer cannot close its file properly there.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_stops_a_sweep_that_goes_on_when_there_is_room(
    small_disk: Path, one_ray: None, small_world: Dataset
) -> None:
    assert small_world.path
    with pytest.raises(StorageError, match="No space left on device"):
        run_sweep(config(), small_world.path, small_disk / "sweep")
    assert (small_disk / "sweep" / "sweep.yaml").exists()
    subprocess.run(["/bin/mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    resume_sweep(small_disk / "sweep")
    assert_whole(Folder.at(small_disk / "sweep"))


def test_a_sweep_that_is_broken_off_gives_the_cluster_back(one_ray: None, small_world: Dataset, tmp_path: Path) -> None:
    assert small_world.path
    with pytest.raises(KeyboardInterrupt) as kept:
        run_sweep(config(), small_world.path, tmp_path / "sweep", progress=breaking_off(1, interrupt))
    deadline = time.monotonic() + 30
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline, "trials of the sweep still hold CPUs"
        time.sleep(0.2)
    # Whoever keeps the error keeps its frames.
    assert kept.traceback


def test_what_has_changed_since_is_refused(small_world: Dataset, tmp_path: Path) -> None:
    assert small_world.path
    sweep = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        run_sweep(config(trials=1), small_world.path, sweep, progress=breaking_off(1, interrupt))
    asked = (sweep / "sweep.yaml").read_text()
    (sweep / "sweep.yaml").write_text(asked.replace(small_world.manifest.content_hash, "0" * 64))
    with pytest.raises(ConfigError, match="has changed"):
        resume_sweep(sweep)
    (sweep / "sweep.yaml").write_text(asked)
    params = sweep / "trials" / "trial-000" / "params.json"
    drawn = params.read_text()
    params.write_text(drawn.replace("mean_pool", "forgotten"))
    with pytest.raises(ConfigError, match=r"trial-000.*forgotten"):
        resume_sweep(sweep)
    params.write_text(drawn)
    assert isinstance(resume_sweep(sweep), SweepResult)
    with pytest.raises(ConfigError, match="is finished already"):
        resume_sweep(sweep)
    with pytest.raises(ConfigError, match="there is no such folder"):
        resume_sweep(tmp_path / "nowhere")
