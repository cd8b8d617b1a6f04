"""One trial: what it runs with, what it has reported, and how it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from foveate.storage.folder import Folder
from foveate_tune.config import SweepConfig
from foveate_tune.objective import compared, plain
from foveate_tune.searchers.base import NUMBER
from foveate_tune.space import Draw

State: TypeAlias = Literal["running", "unfinished", "finished", "stopped early", "out of time", "diverged", "failed"]
"""How a trial stands or ended; ``unfinished`` is one that had not ended when its sweep's folder was read."""
RUNNING: Final = "running"
UNFINISHED: Final = "unfinished"

EPOCH: Final = "epoch"
"""Key of a report's step: an epoch where the level trains in epochs."""
SECONDS: Final = "seconds"
"""Key of the seconds that a trial has worked until a report, whatever came in between."""
CHECKPOINT: Final = "checkpoint"
"""Key of a report's checkpoint: its folder within the trial's. The names of these folders begin so, too."""
SETTINGS: Final = "settings"
"""Key of a report's settings, where a scheduler had changed them by then."""
FAILURE: Final = "failure"
"""Key of the reason why a trial could not go on."""
STATE: Final = "state"
"""Key of its state then."""
STORAGE: Final = "storage"
"""Key of the reason why a checkpoint could not be written: the sweep stops, and the trial can go on with it."""
TELEMETRY: Final = ("loss", "rows_per_second", "epoch_seconds")
"""Keys of what a trial reports of its work beside the level's figures, where it knows."""


def draw_in(config: Mapping[str, Any]) -> Draw:
    """Return a trial's config without the trial's number."""
    return {key: value for key, value in config.items() if key != NUMBER}


def draw_label(draw: Mapping[str, Any]) -> str:
    """Return a draw in a few words, such as ``gated, heads 2, dot_product, width 64``."""
    return ", ".join(_setting_label(path, value) for path, value in sorted(draw.items()))


def _setting_label(path: str, value: Any) -> str:
    shown = f"{value:.3g}" if isinstance(value, float) else str(value)
    # A variant's name speaks for itself.
    return shown if isinstance(value, str) else f"{path.rpartition('.')[2]} {shown}"


@dataclass
class TrialRecord:
    """A trial, the same whether its reports come in or are read again.

    Parameters
    ----------
    name
        That of its folder.
    sweep
        The sweep's config: its level says which figures count, and it holds a trial's budget.
    draw
        What it trains with at the moment, by dotted path; a scheduler may change it.
    trial_id
        The name that the searcher knows it by.
    config
        The draw with the trial's number, as Ray Tune is given it.
    reports
        Everything it has reported, each step once.
    state, reason
        How it stands, and why it diverged or failed.
    ended
        Whether its end is in the journal.
    checkpoint
        The kept checkpoint of its best epoch, within the sweep's folder; None without one.
    resume_from
        The newest whole checkpoint; only looked for where a trial is not over.
    """

    name: str
    sweep: SweepConfig
    draw: Mapping[str, Any]
    trial_id: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    reports: list[Mapping[str, Any]] = field(default_factory=list, init=False)
    epochs: list[Mapping[str, Any]] = field(default_factory=list, init=False)
    """Figures, checkpoint and settings of each epoch that came to figures, in order."""
    state: State = RUNNING
    reason: str | None = None
    ended: bool = False
    checkpoint: str | None = None
    resume_from: Folder | None = None

    def add(self, report: Mapping[str, Any]) -> None:
        """Add a report."""
        self.reports.append(report)
        if FAILURE in report:
            self.state, self.reason = report.get(STATE, "diverged"), report[FAILURE]
            return
        self.draw = report.get(SETTINGS, self.draw)
        figures = plain(report, self.sweep.level.figures) | {key: report[key] for key in TELEMETRY if key in report}
        place = {key: report.get(key) for key in (EPOCH, SECONDS, CHECKPOINT)}
        self.epochs.append({**figures, **place, SETTINGS: self.draw})
        self.see_stop(report)

    def see_stop(self, report: Mapping[str, Any]) -> None:
        """Learn from a report whether the trial was stopped by it."""
        if report.get("done") and report[EPOCH] < self.steps:
            self.state = "out of time" if report[SECONDS] >= self.sweep.max_seconds else "stopped early"

    def end(self) -> None:
        """Mark it as ended: finished, unless it is known to have ended otherwise."""
        self.ended = True
        if self.state == RUNNING:
            self.state = "finished"

    @property
    def steps(self) -> int:
        """How often it reports at most."""
        return self.sweep.level.steps(self.sweep)

    @property
    def epoch(self) -> int:
        """The step of its last report, 0 before the first."""
        return int(self.reports[-1][EPOCH]) if self.reports else 0

    @property
    def over(self) -> bool:
        """Whether it has come to its end, also where its process was killed before it could write so."""
        return self.ended or self.state not in (RUNNING, UNFINISHED) or self.epoch >= self.steps

    @property
    def best(self) -> Mapping[str, Any] | None:
        """Its best epoch; None before one, and where it diverged."""
        if self.state == "diverged":
            return None
        by = self.sweep.level.objectives
        return min(self.epochs, key=lambda epoch: compared(epoch, by), default=None)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Figures of its best epoch; the worst values where it diverged, none where it failed at once."""
        if self.state == "diverged":
            return self.sweep.level.worst
        return plain(self.best or {}, self.sweep.level.figures)

    @property
    def best_epoch(self) -> int:
        """The epoch of :attr:`metrics`, 0 for none."""
        return int(self.best[EPOCH]) if self.best else 0

    @property
    def seconds(self) -> float:
        """How long it has worked for its epochs."""
        return round(float(self.epochs[-1][SECONDS]), 3) if self.epochs else 0.0

    @property
    def settings(self) -> Mapping[str, Any]:
        """The draw of its best epoch, by dotted path."""
        best: Mapping[str, Any] = (self.best or {}).get(SETTINGS, self.draw)
        return best

    @property
    def label(self) -> str:
        """What it trains with, in a few words."""
        return draw_label(self.draw)

    def summary(self) -> dict[str, Any]:
        """Return what its run is given at its end."""
        best = self.best
        figures = {f"best_{one.name}": best[one.name] for one in self.sweep.level.objectives} if best else {}
        return {**figures, **({"best_epoch": best[EPOCH]} if best else {}), "ended": self.state}

    def to_json(self) -> dict[str, Any]:
        """Return its row of ``leaderboard.json``."""
        return {
            "trial": self.name,
            "state": self.state,
            "metrics": dict(self.metrics),
            "best_epoch": self.best_epoch,
            "epochs": len(self.epochs),
            "seconds": self.seconds,
            "settings": dict(self.settings),
            "checkpoint": self.checkpoint,
            "reason": self.reason,
        }
