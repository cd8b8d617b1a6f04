"""What a sweep tells while it runs: lines to whoever listens, and figures to whoever draws a table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import Objective

RUNNING: Final = "running"
"""The state of a trial that has not ended."""


@dataclass(frozen=True)
class SweepPlan:
    """What lies ahead.

    Parameters
    ----------
    trials
        How many there will be at most.
    slots
        How many may run at once.
    steps
        How often a trial reports at most.
    first
        What trials are ordered by.
    """

    trials: int
    slots: int
    steps: int
    first: Objective

    line: str = ""

    @classmethod
    def of(cls, config: SweepConfig, trials: int) -> SweepPlan:
        """Return what a sweep of so many trials has before it."""
        return cls(trials, config.concurrent, config.level.steps(config), config.level.figures[0])


@dataclass(frozen=True)
class TrialNews:
    """Where one trial stands.

    Parameters
    ----------
    trial
        Its name.
    state
        ``RUNNING``, or how it ended.
    epoch, seconds
        How many steps it has reported, and how long it has worked for them.
    latest, best
        Its newest figures and those of its best step; empty before the first.
    rows_per_second
        How fast it trains, None where the level does not say.
    settings
        What it tries, in a few words.
    line
        The same in words; empty where the news is not worth a line.
    """

    trial: str
    state: str
    epoch: int
    seconds: float
    latest: Mapping[str, Any]
    best: Mapping[str, Any]
    rows_per_second: float | None
    settings: str
    line: str = ""


News: TypeAlias = SweepPlan | TrialNews


@runtime_checkable
class SweepWatcher(Protocol):
    """Who hears lines of news and also wants the figures behind them."""

    def __call__(self, line: str) -> None:
        """Hear a line that no figures stand behind."""

    def show(self, news: News) -> None:
        """See where the sweep stands; the line in it is not told again."""


def tell(say: Callable[[str], None], news: News) -> None:
    """Pass news on as whoever listens wants it: figures, or the line alone."""
    if isinstance(say, SweepWatcher):
        say.show(news)
    elif news.line:
        say(news.line)
