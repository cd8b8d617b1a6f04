"""What a model may learn from: one window of the log, and nothing after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.data.catalog import Catalog
from foveate.data.events import Histories


class Step(str):
    """A line of news that also says how far its work has come; empty where there is nothing new to read.

    To who prints lines it is a line like any other; who can draw a bar draws it.

    Parameters
    ----------
    text
        The line.
    done, total
        How much of the work is done, out of how much, in units that the work chooses.
    """

    __slots__ = ("done", "total")

    done: float
    total: float

    def __new__(cls, text: str, done: float, total: float) -> Step:
        """Make the line."""
        step = super().__new__(cls, text)
        step.done, step.total = done, total
        return step

    def __reduce__(self) -> tuple[type[Step], tuple[str, float, float]]:
        """Let it travel to another process whole."""
        return Step, (str(self), self.done, self.total)


def headed(head: str, line: str) -> str:
    """Return a line of news with ``head`` before it; a :class:`Step` remains one."""
    if isinstance(line, Step):
        return Step(f"{head}{line}" if line else "", line.done, line.total)
    return f"{head}{line}"


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
        Called with one line of news a step of long work, a :class:`Step` where it is known how far the work has come.
    """

    histories: Histories
    catalog: Catalog
    now: int
    seed: int = 0
    validation: NDArray[np.int32] | None = None
    progress: Callable[[str], None] | None = None
