"""What a sweep leaves for W&B and TensorBoard, read back from the files: every step once, also where it was resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow.fs import copy_files
from tensorboardX.proto.event_pb2 import Event
from wandb.proto import wandb_internal_pb2

from foveate.bundle import Bundle
from foveate.core.config import from_dict
from foveate.data.dataset import Dataset
from foveate.storage.folder import Folder
from foveate.storage.transfer import local_folder
from foveate_cluster.ray_cluster import ray_cluster
from foveate_tune.config import SweepConfig, TrackingConfig
from foveate_tune.results.leaderboard import SweepResult
from foveate_tune.run_sweep import resume_sweep, run_sweep
from foveate_tune.tracking.base import WHERE, keep_bundle, tracker

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

METRIC = "ndcg@10"
KILLED = """
import os, signal, sys
from pathlib import Path
from foveate_tune.config import TrackingConfig
from foveate_tune.tracking.base import tracker
with tracker(TrackingConfig("offline"), Path(sys.argv[1]), print) as tracking:
    tracking.start("s-trial-000", {"width": 32})
    for step in (1, 2, 3):
        tracking.log("s-trial-000", {"ndcg@10": step / 10}, step)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def without_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def wandb_records(file: Path) -> list[Any]:
    """Read an offline run: LevelDB's log format (blocks of 32 KiB, records of 7 bytes of header) holding protobufs."""
    data, place, held, records = file.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        if place + 7 + size > len(data):
            break
        held, place = held + data[place + 7 : place + 7 + size], place + 7 + size
        if kind in (1, 4):
            records.append(wandb_internal_pb2.Record.FromString(held))
            held = b""
    return records


def kinds(records: list[Any], kind: str) -> list[Any]:
    return [getattr(record, kind) for record in records if record.WhichOneof("record_type") == kind]


def history(records: list[Any]) -> list[dict[str, Any]]:
    """What was logged step by step, nested values by a dotted key."""
    return [
        {(item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in one.item}
        for one in kinds(records, "history")
    ]


def runs(sweep: Path) -> dict[str, list[list[Any]]]:
    """The records of each run's files, by its id."""
    found: dict[str, list[list[Any]]] = {}
    for file in sorted(sweep.glob("wandb/offline-run-*/*.wandb")):
        found.setdefault(file.stem.removeprefix("run-"), []).append(wandb_records(file))
    return found


def scalars(sweep: Path, run: str) -> list[tuple[int, dict[str, float]]]:
    """What TensorBoard is told of each epoch, file by file: a length of 8 bytes, 4 of checksum, the event, 4 more."""
    found = []
    for file in sorted((sweep / "tensorboard" / run).glob("events*")):
        data, place = file.read_bytes(), 0
        while place < len(data):
            (size,) = struct.unpack_from("<Q", data, place)
            if place + size + 16 > len(data):
                break
            event = Event.FromString(data[place + 12 : place + 12 + size])
            place += size + 16
            if event.step:
                found.append((event.step, {value.tag: value.simple_value for value in event.summary.value}))
    return found


def hparams(sweep: Path, run: str) -> bytes:
    return b"".join(file.read_bytes() for file in (sweep / "tensorboard" / run).glob("events*"))


def reports(sweep: Path, trial: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (sweep / "trials" / trial / "result.json").read_text().splitlines()]


def test_every_trial_is_a_run_that_holds_what_was_reported(small_sweep: tuple[SweepResult, Path]) -> None:
    result, sweep = small_sweep
    found = runs(sweep)
    assert set(found) == {result.sweep_id, *(f"{result.sweep_id}-{row.name}" for row in result.trials)}
    for row in result.trials:
        [records] = found[f"{result.sweep_id}-{row.name}"]
        told = reports(sweep, row.name)
        assert [one["_step"] for one in history(records)] == list(range(1, len(told) + 1))
        assert [one[METRIC] for one in history(records)] == pytest.approx([one[METRIC] for one in told])
        run = kinds(records, "run")[0]
        assert (run.project, run.run_group, run.job_type) == ("foveate", sweep.name, "trial")
        assert set(run.tags) == {"trial", "simulated"}


def test_the_sweep_is_a_run_with_its_leaderboard_as_a_table(small_sweep: tuple[SweepResult, Path]) -> None:
    result, sweep = small_sweep
    [records] = runs(sweep)[result.sweep_id]
    assert set(kinds(records, "run")[0].tags) == {"sweep", "simulated"}
    [logged] = history(records)
    assert logged["leaderboard._type"] == "table-file"
    [file] = sweep.glob(f"wandb/offline-run-*-{result.sweep_id}/files/{logged['leaderboard.path']}")
    table = json.loads(file.read_text())
    shown = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["trial"] for row in shown] == [row.name for row in result.trials]
    assert [row[METRIC] for row in shown] == [row.metrics[METRIC] for row in result.trials]
    summary = {item.key: item.value_json for one in kinds(records, "summary") for item in one.update}
    assert json.loads(summary["winner"]) == result.winner
    assert json.loads(summary[f"popularity_{METRIC}"]) == result.popularity[METRIC]


def test_tensorboard_is_told_every_epoch_and_the_settings(small_sweep: tuple[SweepResult, Path]) -> None:
    result, sweep = small_sweep
    for row in result.trials:
        run = f"{result.sweep_id}-{row.name}"
        told = reports(sweep, row.name)
        assert [step for step, _ in scalars(sweep, run)] == list(range(1, len(told) + 1))
        assert [one[METRIC] for _, one in scalars(sweep, run)] == pytest.approx([one[METRIC] for one in told])
        content = hparams(sweep, run)
        assert b"_hparams_/session_start_info" in content
        assert str(row.settings["encoder.mixer"]).encode() in content
    assert result.winner.encode() in hparams(sweep, result.sweep_id)


def test_a_bundle_of_the_sweep_becomes_an_artifact(
    small_sweep: tuple[SweepResult, Path], small_bundle: Bundle, tmp_path: Path
) -> None:
    result, swept = small_sweep
    sweep, said = tmp_path / "sweep", list[str]()
    sweep.mkdir()
    shutil.copy(swept / "sweep.yaml", sweep)
    keep_bundle(sweep, small_bundle, said.append)
    assert said == []
    [(run, [records])] = runs(sweep).items()
    assert run == f"{result.sweep_id}-{small_bundle.bundle_id}"
    assert set(kinds(records, "run")[0].tags) == {"bundle", "simulated"}
    [artifact] = kinds(records, "artifact")
    files = [file for file in small_bundle.path.rglob("*") if file.is_file()]
    assert {entry.path for entry in artifact.manifest.contents} == {
        file.relative_to(small_bundle.path).as_posix() for file in files
    }
    summary = {item.key: item.value_json for one in kinds(records, "summary") for item in one.update}
    assert json.loads(summary["selection/two-stage/ndcg@10"]) == 0.1


def test_a_bundle_of_an_untracked_sweep_is_kept_from_wandb(small_bundle: Bundle, tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "sweep.yaml").write_text("sweep: abc\nconfig: {tracking: {mode: none}}\n")
    keep_bundle(tmp_path, small_bundle, said.append)
    assert said == []
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.yaml"]
    keep_bundle(tmp_path / "nowhere", small_bundle, said.append)
    [line] = said
    assert line.startswith("tracking: the bundle was not written to W&B")


def assert_each_once(sweep: Path, run: str, epochs: int) -> None:
    files = runs(sweep)[run]
    tracked = [one["_step"] for records in files for one in history(records)]
    assert sorted(tracked) == list(range(1, epochs + 1))
    assert [step for step, _ in scalars(sweep, run)] == list(range(1, epochs + 1))


def test_what_a_killed_process_could_not_write_is_written_and_nothing_twice(tmp_path: Path) -> None:
    # W&B's service holds records back and goes with its parent; how many it loses is chance.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, env=environment, timeout=120)
    assert done.returncode == -signal.SIGKILL
    before = scalars(tmp_path, "s-trial-000")
    assert [step for step, _ in before] == [1, 2, 3]
    said: list[str] = []
    with tracker(TrackingConfig("offline"), tmp_path, said.append) as tracking:
        tracking.start("s-trial-000", {"width": 32})
        for step in range(1, 6):
            tracking.log("s-trial-000", {METRIC: step / 10}, step)
        tracking.finish("s-trial-000", {"best_ndcg@10": 0.5})
    assert said == []
    assert len(runs(tmp_path)["s-trial-000"]) == 2
    assert_each_once(tmp_path, "s-trial-000", 5)


def test_a_file_that_was_cut_off_in_the_midst_is_gone_on_from(tmp_path: Path) -> None:
    def tracked(steps: int) -> None:
        with tracker(TrackingConfig("offline"), tmp_path, said.append) as tracking:
            tracking.start("s-trial-000", {"width": 32})
            for step in range(1, steps + 1):
                # Another figure each time: what is there must stay.
                tracking.log("s-trial-000", {METRIC: steps + step / 10}, step)

    said: list[str] = []
    tracked(2)
    for file in (*tmp_path.glob("wandb/*/*.wandb"), *tmp_path.glob("tensorboard/*/events*")):
        content = file.read_bytes()
        # Within the record of the second step, whose name of the metric comes last.
        file.write_bytes(content[: content.rindex(METRIC.encode()) + 3])
    tracked(3)
    assert said == []
    assert [step for step, _ in scalars(tmp_path, "s-trial-000")] == [1, 2, 3]
    [first, second] = [history(records) for records in runs(tmp_path)["s-trial-000"]]
    assert [one["_step"] for one in first + second] == [1, 2, 3]
    assert [one[METRIC] for one in first + second] == pytest.approx([2.1, 3.2, 3.3])


def test_runs_of_a_sweep_on_a_store_are_continued_too(tmp_path: Path) -> None:
    store = Folder.at("memory://tracked/sweep")
    store.make()
    for steps in (2, 3):
        with local_folder(store, WHERE) as here, tracker(TrackingConfig("offline"), here, print) as tracking:
            tracking.start("s-trial-000", {"width": 32})
            for step in range(1, steps + 1):
                tracking.log("s-trial-000", {METRIC: step / 10}, step)
            tracking.finish("s-trial-000", {})
    copy_files(store.path, str(tmp_path), source_filesystem=store.filesystem, use_threads=False)
    assert_each_once(tmp_path, "s-trial-000", 3)


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    """A cluster of this process that both halves of a sweep share."""
    with ray_cluster(None):
        yield


def test_a_resumed_sweep_continues_the_same_runs(one_ray: None, small_world: Dataset, tmp_path: Path) -> None:
    heard = Counter[str]()

    def breaking_off(line: str) -> None:
        heard["epochs"] += " epoch " in line
        if heard["epochs"] == 3:
            raise KeyboardInterrupt

    assert small_world.path
    asked = {
        "trials": 2,
        "epochs": 4,
        "concurrent": 1,
        "scheduler": "none",
        "tracking": {"mode": "offline", "tags": ["again"]},
        "search": {"mixers": ["mean_pool"], "scorers": ["dot_product"]},
    }
    sweep = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        run_sweep(from_dict(SweepConfig, asked), small_world.path, sweep, progress=breaking_off)
    first = set(runs(sweep))
    result = resume_sweep(sweep)
    assert first < set(runs(sweep))
    assert set(runs(sweep)) == {result.sweep_id, f"{result.sweep_id}-trial-000", f"{result.sweep_id}-trial-001"}
    for trial in ("trial-000", "trial-001"):
        assert_each_once(sweep, f"{result.sweep_id}-{trial}", 4)
    assert max(len(files) for files in runs(sweep).values()) == 2
    assert all("again" in kinds(files[-1], "run")[0].tags for files in runs(sweep).values())
