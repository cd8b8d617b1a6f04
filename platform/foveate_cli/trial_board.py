"""A table of a sweep's trials that moves while they train; lines of news where no one watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from foveate_cli import common

if TYPE_CHECKING:
    from foveate.core.progress import Update
    from foveate_tune.progress import SweepPlan
    from foveate_tune.trials.record import TrialRecord

_RUNNING = "running"
_STYLES = {_RUNNING: "cyan", "stopped early": "dim", "out of time": "yellow", "diverged": "red", "failed": "red"}
_BESIDE_ROWS = 6
"""Lines of the terminal that rows cannot have: heading, summary, and one to spare."""


class Board:
    """Keeps where every trial stands, and draws it.

    Parameters
    ----------
    console
        Where lines go that no figures stand behind.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._began = clock()
        self._plan: SweepPlan | None = None
        self._trials: dict[str, TrialRecord] = {}

    def __call__(self, line: str) -> None:
        """Print a line above the table."""
        self._console.print(line, markup=False, soft_wrap=True)

    def show(self, update: Update) -> None:
        """Take the figures of a sweep; other work has lines alone."""
        from foveate_tune.progress import SweepPlan, TrialUpdate  # noqa: PLC0415 - Ray starts slowly

        if isinstance(update, SweepPlan):
            self._plan = update
        elif isinstance(update, TrialUpdate):
            self._trials[update.trial.name] = update.trial
            if update.line and update.trial.state in ("diverged", "failed"):
                # Why it did does not fit the table.
                self(update.line)
        elif update.line:
            self(update.line)

    def __rich__(self) -> Group:
        """Draw the table, the running trials above those that are over, and a summary below."""
        if self._plan is None:
            return Group()
        first = self._plan.first
        over = sorted(self._over(), key=lambda one: -first.gain(_best(one)))
        rows = [*sorted(self._running(), key=lambda one: one.name), *over]
        room = max(3, self._console.height - _BESIDE_ROWS)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
        for name in ("trial", "state", "epoch", first.name, "best", "rows/s"):
            table.add_column(name, justify="left" if name in ("trial", "state") else "right", no_wrap=True)
        table.add_column("settings", no_wrap=True, overflow="ellipsis", ratio=1)
        leader = self._leader()
        for one in rows[:room]:
            style = "bold" if leader is not None and one.name == leader.name else _STYLES.get(one.state, "")
            table.add_row(*map(escape, self._cells(one, self._plan)), style=style)
        hidden = [Text(f"and {len(rows) - room} more", style="dim")] if len(rows) > room else []
        return Group(table, *hidden, Text(self.summary(), overflow="fold"))

    def summary(self) -> str:
        """Say how many trials are over, which is best, and how long it will take."""
        if self._plan is None:
            return ""
        over, running = self._over(), self._running()
        waiting = max(0, self._plan.trials - len(self._trials))
        parts = [f"{len(over)} of {self._plan.trials} trials over, {len(running)} running, {waiting} to come"]
        if (leader := self._leader()) is not None:
            parts.append(f"best {self._plan.first.text(_best(leader))} ({leader.name})")
        parts.append(f"{_clock(self._clock() - self._began)} so far, {self.left()}")
        return " · ".join(parts)

    def left(self) -> str:
        """Say how long the rest will take: the epochs to come, at the pace of those that were, on the slots there are.

        A trial is thought to go as far as those before it that came as far; nobody knows better what a scheduler will
        stop. Before one has ended, that it goes on to its end is the most that it can take.
        """
        plan, trials = self._plan, list(self._trials.values())
        epochs = sum(len(one.epochs) for one in trials)
        if plan is None or not epochs:
            return "time left unknown"
        ends = [len(one.epochs) for one in self._over() if one.epochs]
        pace = sum(one.seconds for one in trials) / epochs
        ahead = [_ahead(len(one.epochs), ends, plan.steps) for one in self._running()]
        ahead += [_ahead(0, ends, plan.steps)] * max(0, plan.trials - len(trials))
        if not ahead:
            return "coming to its end"
        seconds = pace * max(sum(ahead) / plan.slots, *ahead)
        return f"{'about' if ends else 'at most'} {_clock(seconds)} left"

    def _over(self) -> list[TrialRecord]:
        return [one for one in self._trials.values() if one.state != _RUNNING]

    def _running(self) -> list[TrialRecord]:
        return [one for one in self._trials.values() if one.state == _RUNNING]

    def _leader(self) -> TrialRecord | None:
        if self._plan is None:
            return None
        first, measured = self._plan.first, [one for one in self._trials.values() if _best(one)]
        return max(measured, key=lambda one: first.gain(_best(one)), default=None)

    def _cells(self, one: TrialRecord, plan: SweepPlan) -> Sequence[str]:
        latest = one.epochs[-1] if one.epochs else {}
        pace = latest.get("rows_per_second")
        speed = f"{pace:,.0f}" if pace else "-"
        figures = (plan.first.text(latest), plan.first.text(_best(one)))
        return (one.name, one.state, f"{len(one.epochs)}/{plan.steps}", *figures, speed, one.label)


def _best(one: TrialRecord) -> Mapping[str, Any]:
    """Return the figures of a trial's best epoch, empty before one and where it diverged."""
    return one.best or {}


def _ahead(epoch: int, ends: Sequence[int], steps: int) -> float:
    """Return how many epochs a trial is thought to have before it."""
    farther = [end - epoch for end in ends if end > epoch]
    return sum(farther) / len(farther) if farther else float(steps - epoch)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def following() -> Iterator[Callable[[str], None]]:
    """Yield what a sweep's news go to: a moving table on a terminal, lines elsewhere."""
    console = common.err
    if not console.is_terminal:
        yield lambda line: console.print(line, markup=False, soft_wrap=True)
        return
    board = Board(console)
    with Live(get_renderable=board.__rich__, console=console, refresh_per_second=4, transient=True):
        yield board
