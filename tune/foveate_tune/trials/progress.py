"""How one trial goes, from its reports: the same whether they come in or are read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import compared, plain
from foveate_tune.results.leaderboard import Row, State
from foveate_tune.trials.journal import CHECKPOINT, EPOCH, SECONDS, TRIALS, Known
from foveate_tune.trials.trial import FAILURE, STATE, TELEMETRY, draw_in

SETTINGS = "settings"
"""Key of a report's settings, where a scheduler had changed them by then."""


@dataclass
class Course:
    """What one trial has reported so far.

    Parameters
    ----------
    config
        The sweep's.
    settings
        The draw it trains at the moment.
    """

    config: SweepConfig
    settings: Mapping[str, Any]
    epochs: list[Mapping[str, Any]] = field(default_factory=list)
    state: State = "finished"
    reason: str | None = None

    @classmethod
    def of(cls, known: Known, config: SweepConfig) -> Course:
        """Return the course that the journal tells of."""
        course = cls(config, draw_in(known.drawn))
        for report in known.reports:
            course.take(report)
        course.settings = draw_in(known.config)
        if known.end is not None:
            course.state, course.reason = known.end["state"], known.end["reason"]
        return course

    @property
    def broken(self) -> bool:
        """Whether its reports do not count."""
        return self.state == "diverged"

    def take(self, report: Mapping[str, Any]) -> None:
        """Take a report in."""
        if FAILURE in report:
            self.state, self.reason = report.get(STATE, "diverged"), report[FAILURE]
            return
        self.settings = report.get(SETTINGS, self.settings)
        figures = plain(report, self.config.level.figures) | {key: report[key] for key in TELEMETRY if key in report}
        told = {key: report.get(key) for key in (EPOCH, SECONDS, CHECKPOINT)}
        self.epochs.append({**figures, **told, SETTINGS: self.settings})
        self.stop(report)

    def stop(self, report: Mapping[str, Any]) -> None:
        """Learn from a report whether the trial was stopped by it."""
        if report.get("done") and report[EPOCH] < self.config.level.steps(self.config):
            self.state = "out of time" if report[SECONDS] >= self.config.max_seconds else "stopped early"

    def best(self) -> Mapping[str, Any] | None:
        """Return the best epoch; None before one, and where the trial diverged."""
        if self.broken:
            return None
        by = self.config.level.objectives
        return min(self.epochs, key=lambda epoch: compared(epoch, by), default=None)

    def summary(self) -> dict[str, Any]:
        """Return what its run is told at its end."""
        best = self.best()
        figures = {f"best_{one.name}": best[one.name] for one in self.config.level.objectives} if best else {}
        return {**figures, **({"best_epoch": best[EPOCH]} if best else {}), "ended": self.state}

    def row(self, name: str, checkpoint: str | None) -> Row:
        """Return its place in the leaderboard; ``checkpoint`` is the one that is kept, within the trial's folder."""
        best = self.best()
        worst: Mapping[str, float] = self.config.level.worst if self.broken else {}
        return Row(
            trial=name,
            state=self.state,
            metrics=plain(best, self.config.level.figures) if best else worst,
            best_epoch=int(best[EPOCH]) if best else 0,
            epochs=len(self.epochs),
            seconds=round(float(self.epochs[-1][SECONDS]), 3) if self.epochs else 0.0,
            settings=best[SETTINGS] if best else self.settings,
            checkpoint=f"{TRIALS}/{name}/{checkpoint}" if checkpoint else None,
            reason=self.reason,
        )


def over(known: Known, config: SweepConfig) -> bool:
    """Whether a trial had come to its end, also where its process was killed before it could write so."""
    if known.end is not None:
        return True
    last = known.reports[-1] if known.reports else {}
    return FAILURE in last or bool(last.get("done")) or known.epoch >= config.level.steps(config)
