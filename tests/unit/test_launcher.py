"""What Ray's own launcher is told, read by the schema and the checks that ``ray up`` reads it by."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

from foveate_serve.operations.cluster import THROUGHPUT

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra" / "launcher"
FILES = ("aws.yaml", "onprem.yaml")


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return found


def starts(name: str) -> list[list[str]]:
    """Return the words of each ``ray start``."""
    config = read(name)
    commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    parts = [shlex.split(part) for command in commands for part in command.split(";")]
    return [words[2:] for words in parts if words[:2] == ["ray", "start"]]


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_the_config(name: str) -> None:
    validate_config(prepare_config(read(name)))
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(prepare_config({**read(name), "max_worker": 2}))


def test_ray_refuses_a_head_that_is_no_type_of_node() -> None:
    with pytest.raises(ValueError, match="head_node_type"):
        validate_config(prepare_config({**read("aws.yaml"), "head_node_type": "haed"}))


@pytest.mark.parametrize("name", FILES)
def test_every_ray_start_is_one_that_ray_has(name: str) -> None:
    head, worker = starts(name)
    assert "--head" in head
    assert "--address=$RAY_HEAD_IP:6379" in worker
    for words in (head, worker):
        start.make_context("start", list(words))
        assert "--metrics-export-port=8080" in words
    # The dashboard takes orders: it is reached through SSH.
    assert "--dashboard-host=127.0.0.1" in head


@pytest.mark.parametrize("name", FILES)
def test_what_is_sent_to_the_nodes_is_there(name: str) -> None:
    sent = read(name)["file_mounts"]
    own = {source for source in sent.values() if source.startswith("infra/")}
    assert own == {"infra/launcher/ray.sh", "infra/constraints.txt"}
    assert all((ROOT / source).is_file() for source in own)
    assert "~/.ray/auth_token" in sent
    commands = [*read(name)["head_start_ray_commands"], *read(name)["worker_start_ray_commands"]]
    assert all(command.startswith(". ~/ray.sh;") for command in commands)


def test_nodes_start_ray_in_the_environment_that_foveate_serves_in() -> None:
    script = f". {shlex.quote(str(FOLDER / 'ray.sh'))} && env -0"
    environment = {"HOME": "/home/someone", "PATH": "/usr/bin:/bin"}
    told = subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    found = dict(one.split("=", 1) for one in told.stdout.split("\0") if one)
    assert THROUGHPUT.items() <= found.items()
    assert found["RAY_AUTH_MODE"] == "token"
    assert found["PATH"] == "/home/someone/foveate/bin:/usr/bin:/bin"
