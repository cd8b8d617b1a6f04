"""The context of a fit: one window of the log, and nothing after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from foveate.data.catalog import Catalog
from foveate.data.events import Histories
from foveate.data.importing.stream import LogPart
from foveate.data.worker_group import WorkerGroup


@runtime_checkable
class Watcher(Protocol):
    """Who hears news of long work and also wants to see, many times a second, how far it has come."""

    def __call__(self, line: str) -> None:
        """Hear one line of news."""

    def step(self, done: float, total: float) -> None:
        """See that so much is done of so much, in units that the work chooses; the work is over where they meet."""


class Headed:
    """Passes news on with ``head`` before each line, and steps as they are to who wants to see them."""

    def __init__(self, head: str, say: Callable[[str], None]) -> None:
        self._head = head
        self._say = say

    def __call__(self, line: str) -> None:
        """Pass one line on."""
        self._say(f"{self._head}{line}")

    def step(self, done: float, total: float) -> None:
        """Pass a step on."""
        if isinstance(self._say, Watcher):
            self._say.step(done, total)


@dataclass(frozen=True)
class FitContext:
    """What a source or an encoder may learn from.

    Parameters
    ----------
    histories
        Positive interactions before the window's end, and nothing after.
    catalog
        The items.
    now
        End of the window, UTC microseconds; ``NO_TIME`` where the clock is order only.
    seed
        Seed of everything random.
    validation
        One held-out item a viewer (``[U]`` int32, ``-1`` for none) for early stopping, or None. Never from a later
        window.
    progress
        Called with one line of news a step of long work. A :class:`Watcher` also sees how far it has come.
    worker_group
        Several processes that train an encoder together; None trains it in this one.
    log
        Where each of a worker group's processes reads the histories of its own viewers; None partitions those of
        ``histories``.
    shared
        Whether ``histories`` holds this process's share of the viewers alone.
    shard_items
        Whether the processes that train an encoder together share its item vectors out, too.
    """

    histories: Histories
    catalog: Catalog
    now: int
    seed: int = 0
    validation: NDArray[np.int32] | None = None
    progress: Callable[[str], None] | None = None
    worker_group: WorkerGroup | None = None
    log: LogPart | None = None
    shared: bool = False
    shard_items: bool = False
