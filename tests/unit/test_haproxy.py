"""What HAProxy is told beyond what Ray tells it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

from foveate_serve.http.problems import KINDS
from foveate_serve.http.schemas.base import Problem
from foveate_serve.names import ATTEMPT
from foveate_serve.operations.haproxy import adapted, launcher, write_page

CONFIG = """global
    maxconn 10
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    timeout http-keep-alive 90s
    errorfile 502 /nowhere/500.http
    errorfile 503 /nowhere/500.http
frontend http_frontend
    bind 127.0.0.1:1
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain string "not found"
"""


def test_rays_own_config_has_the_places_that_are_edited() -> None:
    for place in ("defaults\n    mode http\n", "\nbackend default_backend\n", "frontend http_frontend\n    bind "):
        assert HAPROXY_CONFIG_TEMPLATE.count(place) == 1


def test_slow_clients_are_bounded_and_nobody_there_is_a_problem(tmp_path: Path) -> None:
    edited = adapted(CONFIG, tmp_path / "503.http")
    assert "timeout http-request 10s" in edited
    assert "timeout http-keep-alive 20s" in edited
    assert edited.count(f"errorfile 503 {tmp_path}/503.http") == 1
    assert "/nowhere" not in edited
    frontend, _, backend = edited.partition("backend default_backend\n    http-request")
    assert f"http-request set-header {ATTEMPT} %[uuid]" in frontend
    assert "return status 503" in backend
    assert "return status 503" not in frontend
    write_page(tmp_path / "503.http")
    head, _, body = (tmp_path / "503.http").read_bytes().partition(b"\r\n\r\n")
    told = Problem.model_validate_json(body)
    assert (told.title, told.status) == (KINDS[told.code].title, KINDS[told.code].status)
    assert f"content-length: {len(body)}".encode() in head
    assert json.loads(body) in [json.loads(part) for part in edited.split("'") if part.startswith("{")]


@pytest.mark.skipif(not Path("/proc").exists(), reason="Ray brings HAProxy for Linux alone")
def test_it_becomes_haproxy_which_takes_the_config(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG)
    program = launcher(tmp_path)
    # As Ray's own look-up finds it: it must not find itself again.
    environment = {**os.environ, "RAY_SERVE_HAPROXY_BINARY_PATH": str(program)}
    command = [str(program), "-c", "-f", str(config)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert told.returncode == 0, told.stderr
    assert "timeout http-request 10s" in config.read_text()
