"""Progress of long work: lines for whoever listens, and the figures behind them for whoever draws them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

Progress: TypeAlias = Callable[[str], None]
"""Takes a line of progress."""


class Update(Protocol):
    """Figures, and the line that says them in words; the line is empty where they are not worth one."""

    @property
    def line(self) -> str:
        """The figures in words."""


@runtime_checkable
class Listener(Protocol):
    """A :data:`Progress` that also takes figures."""

    def __call__(self, line: str) -> None:
        """Take a line that has no figures behind it."""

    def show(self, update: Update) -> None:
        """Take figures; their line is not passed on again."""


def report_progress(progress: Progress, update: Update) -> None:
    """Pass an update on: as figures to a :class:`Listener`, as its line to anybody else."""
    if isinstance(progress, Listener):
        progress.show(update)
    elif update.line:
        progress(update.line)
