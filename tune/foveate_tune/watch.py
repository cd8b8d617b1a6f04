"""What happens in a sweep while it runs: kept for the leaderboard, told to the user and to the tracker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from foveate_tune.config import SweepConfig
from foveate_tune.leaderboard import Row, State, told
from foveate_tune.levels.base import Objective, compared, plain
from foveate_tune.search import NUMBER
from foveate_tune.tracking import Tracker
from foveate_tune.trial import EPOCH, FAILURE, TELEMETRY, draw_in


@dataclass
class Course:
    """What one trial has reported so far."""

    settings: Mapping[str, Any]
    epochs: list[Mapping[str, Any]] = field(default_factory=list)
    state: State = "finished"
    reason: str | None = None

    def best(self, by: tuple[Objective, ...]) -> Mapping[str, Any]:
        """Return the best epoch."""
        return min(self.epochs, key=lambda epoch: compared(epoch, by))


class Watch(Callback):
    """Lives in the driver.

    Parameters
    ----------
    tracker
        Where metrics go.
    sweep_id
        Begins the id of every run.
    facts
        What every run is told besides its settings.
    config
        The sweep's: its level says which figures count, and it holds a trial's budget.
    say
        Called with a line of news.
    """

    def __init__(
        self,
        tracker: Tracker,
        sweep_id: str,
        facts: Mapping[str, Any],
        *,
        config: SweepConfig,
        say: Callable[[str], None],
    ) -> None:
        self.courses: dict[str, Course] = {}
        self._tracker = tracker
        self._sweep_id = sweep_id
        self._facts = facts
        self._level = config.level
        self._epochs = config.level.steps(config)
        self._max_seconds = config.max_seconds
        self._say = say

    def __reduce__(self) -> tuple[Any, ...]:
        # Ray Tune stores its callbacks with the sweep; this one holds open files and a terminal, and is made anew.
        return (Callback, ())

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Open the trial's run."""
        del iteration, trials, info
        name = trial_name(trial)
        settings = self._course(trial).settings
        self._tracker.start(self._run(name), {**settings, **self._facts, "trial": name})

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep one epoch."""
        del iteration, trials, info
        name = trial_name(trial)
        course = self._course(trial)
        if FAILURE in result:
            course.state, course.reason = "diverged", result[FAILURE]
            self._tracker.log(self._run(name), self._level.worst, result[EPOCH])
            self._say(f"{name} diverged: {result[FAILURE]}")
            return
        figures = plain(result, self._level.figures) | {key: result[key] for key in TELEMETRY if key in result}
        course.epochs.append({**figures, EPOCH: result[EPOCH], "seconds": result["time_total_s"]})
        self._tracker.log(self._run(name), figures, result[EPOCH])
        if result.get("done") and result[EPOCH] < self._epochs:
            course.state = "out of time" if result["time_total_s"] >= self._max_seconds else "stopped early"
        self._say(self._line(name, course, result))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Close the trial's run."""
        del iteration, trials, info
        name = trial_name(trial)
        course = self._course(trial)
        by = self._level.objectives
        best = course.best(by) if course.epochs and course.state != "diverged" else None
        summary = {f"best_{one.name}": best[one.name] for one in by} | {"best_epoch": best[EPOCH]} if best else {}
        failed = course.state == "diverged"
        self._tracker.finish(self._run(name), {**summary, "ended": course.state}, failed=failed)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Keep why a trial broke."""
        del iteration, trials, info
        name = trial_name(trial)
        course = self._course(trial)
        course.state, course.reason = "failed", _last_line(trial)
        self._tracker.finish(self._run(name), {"ended": course.state}, failed=True)
        self._say(f"{name} failed: {course.reason}")

    def _course(self, trial: Trial) -> Course:
        """Return what is known of a trial; one that breaks before it starts is first heard of by its error."""
        return self.courses.setdefault(trial_name(trial), Course(draw_in(trial.config)))

    def row(self, name: str, checkpoint: str | None) -> Row:
        """Return a trial's place in the leaderboard."""
        course = self.courses[name]
        seconds = float(course.epochs[-1]["seconds"]) if course.epochs else 0.0
        metrics: Mapping[str, float] = self._level.worst if course.state == "diverged" else {}
        best_epoch = 0
        if course.epochs and course.state != "diverged":
            best = course.best(self._level.objectives)
            metrics, best_epoch = plain(best, self._level.figures), int(best[EPOCH])
        return Row(
            trial=name,
            state=course.state,
            metrics=metrics,
            best_epoch=best_epoch,
            epochs=len(course.epochs),
            seconds=round(seconds, 3),
            settings=course.settings,
            checkpoint=checkpoint,
            reason=course.reason,
        )

    def _run(self, name: str) -> str:
        return f"{self._sweep_id}-{name}"

    def _line(self, name: str, course: Course, result: Mapping[str, Any]) -> str:
        end = f" [{course.state}]" if course.state != "finished" else ""
        figures = [f"{one.name} {one.text(result)}" for one in self._level.objectives]
        measured = ", ".join(figures + [f"loss {result['loss']:.3f}"] * ("loss" in result))
        return f"{name} epoch {result[EPOCH]}/{self._epochs}: {measured}{end}  ({told(course.settings)})"


def trial_name(trial: Trial) -> str:
    """Return the name of a trial: its number, the same in every run of the sweep."""
    return f"trial-{trial.config[NUMBER]:03d}"


def _last_line(trial: Trial) -> str:
    error = trial.get_error()
    lines = str(error).strip().splitlines() if error else []
    return lines[-1] if lines else "its process ended"
