"""``foveate train --address`` with workers: they lie on the nodes of the cluster, and all see one folder."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from clusters.nodes import nodes
from foveate.bundle import Bundle
from foveate.data.dataset import Dataset

SETTINGS = [
    "train.workers=2",
    "train.shard_items=true",
    "sources=[{name: attention, train: {epochs: 2}}, popularity]",
    "label_windows=1",
    "ranker.trees=10",
]


@pytest.mark.cluster
@pytest.mark.soak
def test_workers_lie_one_a_node_and_keep_checkpoints_beside_the_bundle(small_world: Dataset, tmp_path: Path) -> None:
    place, log = tmp_path / "place", tmp_path / "log"
    place.mkdir()
    kept: set[str] = set()
    code = "from foveate_cli.main import main; main()"
    words = ["train", "--data", str(small_world.path), "--out", str(place / "bundle")]
    with nodes(1, tmp_path) as ground, log.open("w") as news:
        command = [sys.executable, "-c", code, *words, "--address", ground.address, *SETTINGS]
        with ground.start(command, stdout=news, stderr=news) as training:
            while training.poll() is None:
                kept |= {path.parent.name for path in place.glob(".training.*/*/checkpoint_*/encoder.safetensors")}
                time.sleep(0.2)
    told = log.read_text()
    assert training.returncode == 0, told
    # Before the label window, the selection's and the test's.
    assert told.count("2 workers train together on 2 nodes") == 3
    assert kept, "a checkpoint was to be seen in the folder"
    assert Bundle.load(place / "bundle").bundle_id in told
    assert not list(place.glob(".training.*"))
