"""CPU time of a server's processes, read from Linux's ``/proc``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from foveate.core.errors import ServingError

_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """One process: its parent, what it is called, and the seconds of a core that it has used."""

    pid: int
    parent: int
    name: str
    seconds: float


def descendants(root: int) -> dict[int, Process]:
    """Return the processes that ``root`` started, and those that these started, by their ids.

    Raises
    ------
    ServingError
        This system does not tell.
    """
    if not (_PROC / "self" / "stat").exists():
        raise ServingError("how busy a server's processes are is told by Linux alone: measure there, and give --costs")
    every = {one.pid: one for one in _processes()}
    found: dict[int, Process] = {}
    new = {root}
    while new:
        found |= {pid: every[pid] for pid in new if pid != root and pid in every}
        new = {one.pid for one in every.values() if one.parent in new}
    return found


def busy(before: Mapping[int, Process], after: Mapping[int, Process]) -> dict[int, float]:
    """Return the seconds that each process worked between two looks."""
    return {pid: one.seconds - (before[pid].seconds if pid in before else 0.0) for pid, one in after.items()}


def machine_busy() -> float:
    """Return the seconds of cores that this machine has worked since its start, for whomever, its own host included."""
    fields = [int(ticks) for ticks in (_PROC / "stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / _TICK


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds of its own."""
    pages = int((_PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _processes() -> Iterator[Process]:
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            content = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it has just ended
        name = content[content.index("(") + 1 : content.rindex(")")]
        rest = content[content.rindex(")") + 2 :].split()
        yield Process(int(folder.name), int(rest[1]), name, (int(rest[11]) + int(rest[12])) / _TICK)
