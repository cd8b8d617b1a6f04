"""The history of a registry: a file of JSON lines that only grows."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from foveate.bundle.manifest import Metrics
from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError, ReleaseError

Action: TypeAlias = Literal["promote", "refuse", "rollback", "interrupted"]

CHANGES: Final = ("promote", "rollback")
"""The actions that change what serves."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found: how far a new bundle lies above what it would replace, on the same viewers.

    Parameters
    ----------
    passed
        Whether the new bundle may be promoted.
    judged, against
        Ids of the bundles whose answers were compared; ``against`` is ``popularity`` where nothing served yet.
    metric, viewers, data
        What was measured, on how many viewers, of which data.
    new, old
        Both means.
    percent, low, high
        Their difference in per cent of ``old``, and the ends of its 95 % interval; None where ``old`` is 0.
    margin
        How many per cent ``low`` may lie below 0.
    notes
        What a reader should know.
    """

    passed: bool
    judged: str
    against: str
    metric: str
    viewers: int
    data: str
    new: float
    old: float
    percent: float | None
    low: float | None
    high: float | None
    margin: float
    notes: tuple[str, ...] = ()

    def change(self) -> str:
        """Return the difference with its interval, whose ends are rounded outwards: they agree with the decision."""
        if self.percent is None or self.low is None or self.high is None:
            return "unknown"
        low, high = math.floor(self.low * 10) / 10, math.ceil(self.high * 10) / 10
        return f"{self.percent:+.1f} % ({low:+.1f} to {high:+.1f})"


@dataclass(frozen=True)
class Entry:
    """One line of the history.

    Parameters
    ----------
    at
        When, in UTC.
    action
        ``promote`` and ``rollback`` changed what serves; ``refuse`` is the gate's no; ``interrupted`` says that the
        change before it never took effect.
    bundle, before
        The bundle that it is about, and the one that served until then.
    who, because
        Who did it, and why.
    gate
        What the gate found; None where it was not asked.
    twin
        The bundle that was judged in this one's place.
    metrics, sweep, data, upto
        Of the bundle's manifest.
    """

    at: str
    action: Action
    bundle: str
    before: str | None = None
    who: str = ""
    because: str = ""
    gate: Verdict | None = None
    twin: str | None = None
    metrics: Metrics = field(default_factory=dict)
    sweep: Mapping[str, Any] | None = None
    data: str = ""
    upto: str = ""


def read_history(path: Path) -> tuple[Entry, ...]:
    """Return every line, oldest first, but for one that is only half there.

    Raises
    ------
    ReleaseError
        A line is damaged.
    FileNotFoundError
        There is no such file.
    """
    lines = path.read_bytes().split(b"\n")[:-1]
    return tuple(_entry(path, number, line) for number, line in enumerate(lines, 1))


def append(path: Path, entry: Entry) -> Entry:
    """Add a line, and come back only when the disk holds it; whoever calls holds the lock."""
    line = (json.dumps(to_dict(entry), allow_nan=False) + "\n").encode()
    with path.open("r+b") as stream:
        # A line that was cut short, by a full disk or a power cut, gives way.
        stream.truncate(stream.read().rfind(b"\n") + 1)
        stream.seek(0, os.SEEK_END)
        stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())
    return entry


def in_force(entries: Sequence[Entry], current: str | None) -> tuple[Entry, ...]:
    """Return the changes that took effect, oldest first; ``current`` is the bundle that serves."""
    changes = _changes(entries)
    return tuple(changes[:-1] if _unfinished(changes, current) else changes)


def unfinished(entries: Sequence[Entry], current: str | None) -> Entry | None:
    """Return the change that stands in the history and never took effect, None for none."""
    changes = _changes(entries)
    return changes[-1] if _unfinished(changes, current) else None


def latest(entries: Sequence[Entry]) -> str | None:
    """Return the bundle of the last change that was not interrupted, None for none: all that a copy can tell."""
    changes = _changes(entries)
    return changes[-1].bundle if changes else None


def standing(changes: Sequence[Entry]) -> list[str]:
    """Return the bundles that have proved good, oldest first: the last one serves, a rollback falls back on the others.

    What was rolled back from is not among them.
    """
    good: list[str] = []
    for entry in changes:
        if entry.action == "rollback" and entry.bundle in good:
            while good[-1] != entry.bundle:
                good.pop()
        else:
            good.append(entry.bundle)
    return good


def _changes(entries: Sequence[Entry]) -> list[Entry]:
    changes: list[Entry] = []
    for entry in entries:
        if entry.action in CHANGES:
            changes.append(entry)
        elif entry.action == "interrupted":
            changes.pop()
    return changes


def _unfinished(changes: Sequence[Entry], current: str | None) -> bool:
    """Whether what serves is still what the last change found: it is written before it is done."""
    return bool(changes) and changes[-1].bundle != current and changes[-1].before == current


def _entry(path: Path, number: int, line: bytes) -> Entry:
    try:
        return from_dict(Entry, json.loads(line))
    except (ValueError, ConfigError) as error:
        raise ReleaseError(f"'{path}', line {number} is damaged or of another Foveate: {error}") from error
