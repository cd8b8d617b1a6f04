"""A bucket on an S3 server of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from clusters.hosts import Host


@contextmanager
def bucket(name: str, on: Host | None = None) -> Iterator[str]:
    """Have a bucket while the block runs; yields its address, with a place for a folder's name.

    Parameters
    ----------
    on
        The host that its server is to run on; None for this machine.
    """
    from pyarrow.fs import FileSystem

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    host = on.address if on else "127.0.0.1"
    command = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = on.start(command, os.environ, **quiet) if on else subprocess.Popen(command, text=True, **quiet)
    try:
        give_up = time.monotonic() + 30
        while not _answers(host, port):
            assert server.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.05)
        options = f"endpoint_override=http%3A%2F%2F{host}%3A{port}&region=us-east-1"
        with pytest.MonkeyPatch.context() as patch:
            for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(key, "testing")
            filesystem, place = FileSystem.from_uri(f"s3://{name}?{options}&allow_bucket_creation=true")
            filesystem.create_dir(place)
            yield f"s3://{name}/{{}}?{options}"
    finally:
        server.terminate()
        server.wait()


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 5).close()
    except OSError:
        return False
    return True
