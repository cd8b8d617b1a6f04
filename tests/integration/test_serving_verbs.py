"""``foveate recommend``, ``replay`` and ``serve`` as a user calls them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from console import Run, console
from foveate.bundle import Bundle, default_state
from foveate.state.sqlite.store import SqliteState

EVENT = b'{"events": [{"user_id": "u", "item_id": "v00001", "kind": "like"}]}'
POST = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(EVENT),
    EVENT,
)


@pytest.fixture
def folder(small_bundle: Bundle, tmp_path: Path) -> Path:
    """A working folder with a bundle ``small`` and its state."""
    shutil.copytree(small_bundle.path, tmp_path / "small")
    shutil.copyfile(default_state(small_bundle.path), tmp_path / "small.state.sqlite")
    return tmp_path


@pytest.fixture
def foveate(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Call the console script in the working folder, in this process: starting one takes long."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    return console(monkeypatch, capsys)


def test_recommend_prints_a_table_and_writes_json(folder: Path, foveate: Callable[..., Run]) -> None:
    with SqliteState(folder / "small.state.sqlite") as state:
        user = state.users(1)[0]
    run = foveate("recommend", "--bundle", "small", "--user", user, "-k", "4", "--json", "out.json")
    assert run.status == 0, run.err
    payload = json.loads((folder / "out.json").read_text())
    assert len(payload["items"]) == 4
    assert payload["simulated"] is True
    assert payload["cold"] is False
    assert "[simulated]" in run.out
    for item in payload["items"]:
        assert item["item_id"] in run.out
    cold = foveate("recommend", "--bundle", "small", "--user", "a [red]stranger")
    assert cold.status == 0, cold.err
    assert "'a [red]stranger' has no history here: this is a cold slate" in cold.out


def test_explain_and_why_not_say_the_same_as_the_library_and_write_json(
    folder: Path, foveate: Callable[..., Run]
) -> None:
    with SqliteState(folder / "small.state.sqlite") as state:
        user = state.users(1)[0]
        seen = state.history(user).item_ids[0]
    asked = ("--bundle", "small", "--user", user, "-k", "3", "--seed", "1", "--json", "out.json")
    run = foveate("explain", *asked)
    assert run.status == 0, run.err
    payload = json.loads((folder / "out.json").read_text())
    assert len(payload["items"]) == 3
    for item in payload["items"]:
        assert " ".join(item["sentence"].split()) in " ".join(run.out.split())
        whole = item["base"] + item["others"] + sum(one["value"] for one in item["contributions"])
        assert abs(whole - item["score"]) < 1e-4
    first = payload["items"][0]["item_id"]
    one = foveate("explain", *asked, "--item", first)
    assert one.out.count("score: ") == 1
    assert len(json.loads((folder / "out.json").read_text())["items"]) == 1
    answers = {}
    for item_id in (seen, first, "no [such] item"):
        run = foveate("why-not", *asked, "--item", item_id)
        answer = json.loads((folder / "out.json").read_text())
        assert (run.status, answer["sentence"] in run.out) == (
            (2, False) if answer["where"] == "unknown" else (0, True)
        )
        assert (answer["sentence"] in run.err) == (answer["where"] == "unknown")
        answers[item_id] = answer["where"]
    assert list(answers.values()) == ["filtered", "shown", "unknown"]
    refused = foveate("explain", *asked, "--item", seen)
    assert refused.status == 2
    assert "why-not" in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recommend", "--bundle", "none", "--user", "u"], "'none' is no bundle"),
        (["recommend", "--bundle", "small", "--user", "u", "--state", "typo.sqlite"], "'typo.sqlite': no such file"),
        (["recommend", "--bundle", "small", "--user", "u", "-k", "0"], "-k"),
        (["replay", "r1"], "knows request 'r1'"),
        (["replay", "r1", "--bundle", "small"], "no request 'r1' is kept"),
        (["serve", "--bundle", "none"], "'none' is no bundle"),
        (["serve", "--bundle", "small", "prot=1"], "unknown setting 'prot'. Did you mean 'port'?"),
        (["serve", "--bundle", "small", "--address", "127.0.0.1:1"], "no Ray cluster answers there"),
        (["serve", "--bundle", "small", "--replicas", "1000"], "lower replicas or cpus"),
        (["serve", "--bundle", "small", "--state", "small"], "unable to open"),
    ],
)
def test_a_users_mistake_is_one_line(foveate: Callable[..., Run], arguments: list[str], said: str) -> None:
    run = foveate(*arguments)
    assert run.status == 2, run.err
    assert said in run.err
    assert "Traceback" not in run.err


def processes_of(mark: str) -> list[int]:
    """Return the processes that carry ``mark`` in their environment, which children inherit."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("step", ["starting Ray", "deploying"])
def test_a_start_that_is_ended_ends_cleanly(folder: Path, step: str) -> None:
    program = "from foveate_cli.main import main; main()"
    command = [sys.executable, "-c", program, "serve", "--bundle", "small", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = ""
        while step not in said:
            line = server.stderr.readline()
            assert line, said
            said += line
        server.send_signal(signal.SIGTERM)
        said += server.stderr.read()
    assert server.returncode == 128 + signal.SIGTERM
    assert not [word for word in ("SIGTERM received", "Traceback", "Aborted") if word in said], said


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_serve_answers_until_it_is_stopped_and_leaves_nothing_behind(folder: Path, foveate: Callable[..., Run]) -> None:
    mark = f"FOVEATE_TEST={folder}"
    program = "from foveate_cli.main import main; main()"
    patient = ["deadline_ms=30000", "start_timeout_s=300"]
    command = [sys.executable, "-c", program, "serve", "--bundle", "small", "--port", "0", *patient]
    # A long TMPDIR, as some systems have, must not keep Ray from starting.
    environment = {**os.environ, "FOVEATE_TEST": str(folder), "TMPDIR": str(folder), "HOME": str(folder)}
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "XDG_RUNTIME_DIR"):
        environment.pop(name, None)
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, text=True, env=environment, **pipes) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        try:
            found = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
            assert found is not None
            answer = httpx.post(f"{found[0]}/v1/recommend", json={"user_id": "u", "k": 3}, timeout=60).json()
            assert processes_of(mark) != []
            # Another terminal finds the server by its port, and is let in.
            scale = [sys.executable, "-c", program, "scale", "--port", found[0].rpartition(":")[2]]
            sizes = subprocess.run(scale, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            assert sizes.returncode == 0, sizes.stderr
            assert re.search(r"ranker +1 +1 +1", sizes.stdout)
            with closing(sqlite3.connect(folder / "small.state.sqlite", isolation_level=None)) as other:
                # Events wait for the file's lock when the end comes, and are answered all the same.
                other.execute("BEGIN IMMEDIATE")
                with socket.create_connection(("127.0.0.1", urlsplit(found[0]).port or 0), timeout=60) as under_way:
                    under_way.sendall(POST)
                    time.sleep(0.5)
                    server.send_signal(signal.SIGTERM)
                    time.sleep(0.5)
                    other.execute("ROLLBACK")
                    assert under_way.recv(1000).startswith(b"HTTP/1.1 200")
        except BaseException:
            server.send_signal(signal.SIGTERM)
            raise
        assert server.wait(timeout=60) == 0
        said = server.stderr.read()
    # Where nobody watches, a line for each step of the start, with the seconds since it began.
    steps = re.findall(r"^ *(\d+\.\d) s  (.*)$", said, re.MULTILINE)
    begins = (
        "loading Ray",
        "verifying bundle",
        "viewers' state",
        "starting Ray",
        "Ray runs; deploying",
        "replicas that run",
    )
    assert [begin for begin in begins if any(line.startswith(begin) for _, line in steps)] == list(begins)
    assert steps[-1][1] == "ready"
    assert [float(seconds) for seconds, _ in steps] == sorted(float(seconds) for seconds, _ in steps)
    # Helpers of Ray's dashboard end by themselves a moment after it.
    give_up = time.monotonic() + 10
    while processes_of(mark) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert processes_of(mark) == []
    assert not (folder / ".ray").exists()

    run = foveate("replay", answer["request_id"], "--json", "out.json")
    assert run.status == 0, run.err
    assert run.out.startswith("the same: all 3 items")
    assert json.loads((folder / "out.json").read_text())["same"] is True
